"""The verifier stands alone: it drags in neither the service nor python-jose."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
import identity.verifier, identity.verifier.gate.algorithms
print(json.dumps(sorted(sys.modules)))
"""

ROUND_TRIP = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jose", "ecdsa", "rsa", "pyasn1", "six"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
from tests.verifier.sample import forger, gate
from identity.verifier.gate.algorithms import ALGORITHMS

for alg in ALGORITHMS:
    print(gate().check(forger(alg).token()).algorithm)
for name in ("jose", "ecdsa", "rsa", "pyasn1", "six"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} was there after all")
"""


ALONE = """
import sys

ALLOWED = {"identity", "cryptography", "httpx", "httpcore", "h11", "anyio", "idna",
           "certifi", "sniffio", "typing_extensions", "cffi",
           # for the issuer that this test asks
           "pytest", "pluggy", "iniconfig", "packaging", "pygments", "py"}
BLOCKED = {"identity.app", "identity.settings"}

class Alone:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if name in BLOCKED or (top not in ALLOWED and top not in sys.stdlib_module_names
                               and not top.startswith("_")):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Alone())
import asyncio
import identity.verifier
from identity.verifier import *
from identity.verifier.asgi import IdentityMiddleware
from identity.verifier.testing.issuer import Issuer

async def main():
    issuer = Issuer()
    async with issuer.verifier() as verifier:
        print((await verifier.verify(issuer.token())).subject)
    with issuer.sync_verifier() as verifier:
        print(verifier.verify(issuer.token()).subject)

asyncio.run(main())
"""

GATE = """
import json, sys
from identity.verifier import Gate
print(json.dumps(sorted(sys.modules)))
"""

PLUGIN = """
import json, sys
import pytest
before = set(sys.modules)
import identity.testing
import identity.verifier.testing
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(json.loads(run(LOADED)))


@pytest.mark.parametrize(
    "foreign",
    [
        "jose",
        "ecdsa",
        "rsa",
        "pyasn1",
        "six",
        "fastapi",
        "starlette",
        "sqlalchemy",
        "sqlmodel",
        "pydantic",
    ],
)
def test_importing_the_verifier_does_not_import(foreign: str, loaded: set[str]) -> None:
    assert foreign not in loaded


def test_the_verifier_imports_nothing_else_of_identity(loaded: set[str]) -> None:
    ours = {name for name in loaded if name.partition(".")[0] == "identity"}
    assert {name for name in ours if not name.startswith("identity.verifier")} == {"identity"}


def test_every_algorithm_works_without_python_jose_and_what_it_brings() -> None:
    assert run(ROUND_TRIP).split() == ["ES256", "RS256", "PS256", "EdDSA"]


def test_the_verifier_runs_on_what_is_installed_without_extras() -> None:
    assert run(ALONE).split() == ["alice", "alice"]


def test_the_gate_alone_brings_no_http_client_into_the_service() -> None:
    assert not {"httpx", "identity.verifier.verifier"} & set(json.loads(run(GATE)))


def test_the_pytest_plugin_brings_nothing_into_a_run_that_does_not_use_it() -> None:
    assert set(json.loads(run(PLUGIN))) <= {
        "identity",
        "identity.verifier",
        "identity.verifier.namesake",
        "identity.verifier.testing",
        "identity.testing",
    }
