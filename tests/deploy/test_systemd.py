"""The systemd unit: systemd accepts it, and the service lives within what it allows."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from identity.settings import Settings, described
from tests.databases import ROOT, environment, free_port, wait_until
from tests.templates import Templates

UNIT = (ROOT / "deploy" / "systemd" / "identity.service").read_text()
PROGRAM = "/opt/identity/.venv/bin/identity"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def said(name: str) -> list[str]:
    """The values of a directive, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit where its program is installed."""
    path = tmp_path / "identity.service"
    path.write_text(UNIT.replace(PROGRAM, "/bin/true"))
    return path


@needs_systemd
def test_systemd_has_nothing_against_it(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


@needs_systemd
def test_systemd_calls_it_well_protected(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr  # 20 is 2.0 of 10, where 10 is the worst
    (level,) = re.findall(r"Overall exposure level for identity.service: ([\d.]+)", done.stdout)
    assert float(level) < 2


def test_its_settings_exist_and_are_taken() -> None:
    (line,) = said("Environment")
    given = dict(each.split("=", 1) for each in line.split())
    known = {name for name, _, _ in described()}
    ours = {name: value for name, value in given.items() if name.startswith("IDENTITY_")}
    assert ours.keys() <= known
    fields = {name.removeprefix("IDENTITY_").lower(): value for name, value in ours.items()}
    settings = Settings.of(**fields, issuer="https://id.example.com")
    assert settings.production
    assert int(*said("TimeoutStopSec")) >= settings.server.drain.total_seconds() + 16


def test_it_migrates_before_it_serves() -> None:
    assert said("ExecStartPre") == [f"{PROGRAM} migrate"]
    assert said("ExecStart") == [f"{PROGRAM} serve"]


MDWE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(99)
os.execv(sys.executable, [sys.executable, "-m", "identity", "serve", *sys.argv[1:]])
"""
"""What MemoryDenyWriteExecute does, by PR_SET_MDWE: it holds through exec."""


@pytest.fixture
def served(templates: Templates, tmp_path: Path) -> Iterator[str]:
    """The service without memory that is writable and executable."""
    probe = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0)"
    if (
        not sys.platform.startswith("linux")
        or subprocess.run([sys.executable, "-c", probe]).returncode
    ):
        pytest.skip("this kernel has no PR_SET_MDWE")
    port = free_port()
    settings = {
        "DATABASE_URL": templates.fresh("sqlite", tmp_path),
        "KEYS_DIR": str(tmp_path / "keys"),
        "BOOTSTRAP_ADMIN_PASSWORD": "correct horse battery staple",
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
    }
    command = [sys.executable, "-c", MDWE, "--port", str(port)]
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(**settings), stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 60, lambda: (tmp_path / "log").read_text())
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_it_logs_in_without_memory_that_is_writable_and_executable(served: str) -> None:
    form = {
        "grant_type": "password",
        "username": "admin",
        "password": "correct horse battery staple",
    }
    with httpx.Client(base_url=served, timeout=60) as client:
        assert client.post("/token", data=form).status_code == 200
        assert client.get("/.well-known/jwks.json").status_code == 200
        assert client.get("/docs").status_code == 200  # FastAPI and pydantic, too
