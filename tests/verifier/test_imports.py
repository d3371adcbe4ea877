"""The verifier stands alone: it drags in neither the service nor python-jose's other backends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
import identity.verifier, identity.verifier.algorithms
print(json.dumps(sorted(sys.modules)))
"""

ROUND_TRIP = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ecdsa", "rsa", "pyasn1"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
from tests.verifier.issuer import forger, gate
from identity.verifier.algorithms import ALGORITHMS

for alg in ALGORITHMS:
    print(gate().check(forger(alg).token()).algorithm)
for name in ("ecdsa", "rsa", "pyasn1"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} was there after all")
"""


def run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(json.loads(run(LOADED)))


@pytest.mark.parametrize(
    "foreign",
    ["ecdsa", "rsa", "pyasn1", "fastapi", "starlette", "sqlalchemy", "sqlmodel", "pydantic"],
)
def test_importing_the_verifier_does_not_import(foreign: str, loaded: set[str]) -> None:
    assert foreign not in loaded


def test_the_verifier_imports_nothing_else_of_identity(loaded: set[str]) -> None:
    ours = {name for name in loaded if name.partition(".")[0] == "identity"}
    assert {name for name in ours if not name.startswith("identity.verifier")} == {"identity"}


def test_every_algorithm_works_without_the_other_backends() -> None:
    assert run(ROUND_TRIP).split() == ["ES256", "RS256", "PS256", "EdDSA"]
