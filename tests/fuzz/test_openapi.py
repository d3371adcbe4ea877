"""Generated requests against a running service, made from the service's own OpenAPI document and
sent as an administrator: no answer is a server error or one that the document does not describe.

The short form sends a few of each operation. Whether each was got through to takes more, and is
asked of the whole: schemathesis' systematic cases and its chains of requests are in that alone.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.databases import ROOT, environment, free_port
from tests.proofs import LONG, WHOLE, effort
from tests.serving import Server

HERE = Path(__file__).parent
SECONDS = os.environ.get("FUZZ_SECONDS", "300")
EXAMPLES = {"sqlite": effort(2, 8), "postgresql": effort(2, 4)}
ANSWERED = re.compile(r'identity_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\}')


@pytest.mark.fuzz
def test_no_generated_request_is_answered_with_anything_undocumented(
    dialect: str, database_url: str, server: Callable[..., Server], tmp_path: Path
) -> None:
    port = free_port()
    service = server(
        port=port, ISSUER=f"http://localhost:{port}",  # a name, so that passkeys are possible
        LOGIN_MAX_FAILURES="1000000", LOG_LEVEL="warning",
        REGISTRATION="open", FIRST_PARTY_CHALLENGE="true", MAIL_FOLDER=str(tmp_path / "mail"),
    )  # fmt: skip
    # The first one to ask waits until it is made, and schemathesis waits ten seconds.
    httpx.get(f"{service.url}/openapi.json", trust_env=False, timeout=120)
    until = ["--max-time", SECONDS] if LONG else ["--seed", "1", "-n", str(EXAMPLES[dialect])]
    if not WHOLE:
        until += ["--phases", "fuzzing"]
    options = ["--config-file", str(HERE / "schemathesis.toml"), "--no-color"]
    command = [*options, "run", *until, f"{service.url}/openapi.json"]
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command],
        cwd=tmp_path,
        env=environment()
        | {
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "PYTHONPATH": str(ROOT),
            "FUZZ_SERVICE": service.url,
            "FUZZ_DATABASE_URL": database_url,
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "unhandled exception" not in service.log.read_text(errors="replace")
    if WHOLE:
        assert never_succeeded(service) == set(), run.stdout


def never_succeeded(service: Server) -> set[tuple[str, str]]:
    """Described operations that no request got through to, and thus were not tried at all."""
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    numbers = httpx.get(f"{service.url}/metrics", trust_env=False).text
    succeeded = {
        (method, route.replace(":path}", "}"))
        for method, route, status in ANSWERED.findall(numbers)
        if status.startswith("2") or status == "303"
    }
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    return described - succeeded
