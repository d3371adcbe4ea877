"""The verifiers that node services use, unmodified, as their documentation shows them: they take
what the real service issues, by every algorithm that they know, and nothing that is broken."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Issued
from tests.interop.npm import installed

HERE = Path(__file__).parent / "node"
LIBRARIES = {
    "jose": ["ES256", "RS256", "PS256", "EdDSA"],
    "oauth4webapi": ["ES256", "RS256", "PS256", "EdDSA"],
    "jwks-rsa": ["ES256", "RS256", "PS256"],
}
"""Which algorithms each of them knows; jwks-rsa together with jsonwebtoken."""

Ask = Callable[[str, Issued, list[str]], list[str | None]]


@pytest.fixture(scope="module")
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """What the library says of each token: None where it takes it."""
    folder = installed(HERE / "package.json", request.config)
    shutil.copy(HERE / "verify.mjs", folder)
    with subprocess.Popen(
        ["node", "verify.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        asking, answering = process.stdin, process.stdout

        def ask(library: str, issued: Issued, tokens: list[str]) -> list[str | None]:
            asked: dict[str, Any] = {"library": library, "alg": issued.alg, "tokens": tokens}
            asked |= {"issuer": issued.issuer, "audience": issued.audience}
            asking.write(json.dumps(asked) + "\n")
            asking.flush()
            answers: list[str | None] = json.loads(answering.readline())
            return answers

        yield ask
        asking.close()


@pytest.mark.parametrize(
    ("library", "alg"), [(library, alg) for library in LIBRARIES for alg in LIBRARIES[library]]
)
def test_it_takes_what_we_issue_and_nothing_that_is_broken(
    issued: dict[str, Issued], ask: Ask, library: str, alg: str
) -> None:
    these = issued[alg]
    # A header cannot carry the empty token, which is no token anyway.
    names, broken = zip(*(each for each in these.broken if each[1]), strict=True)
    good, *others = ask(library, these, [these.good, *broken])
    assert good is None
    assert [name for name, error in zip(names, others, strict=True) if error is None] == []
