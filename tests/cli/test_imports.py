"""What a command imports is what it needs: its start is measured in that, for time is the
machine's."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.databases import ROOT, environment

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
SERVICE = {
    "fastapi", "starlette", "uvicorn", "uvloop", "alembic", "mako", "structlog", "rich", "pygments",
    "prometheus_client", "psycopg", "passlib", "bcrypt", "jose", "httpx", "anyio",
    "identity.services", "identity.app", "identity.fastlane", "identity.metrics",
}  # fmt: skip
"""Nothing of it is needed to look into the database."""


def loaded(folder: Path, *args: str, **settings: str) -> set[str]:
    script = (
        "import sys; from identity.cli import run; code = run(sys.argv[1:]); "
        "print('\\n' + ' '.join(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args], cwd=folder, env=environment(**settings),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


@SQLITE
@pytest.mark.parametrize(
    "command",
    [
        "users list", "users show ada", "users sessions ada", "users disable ada", "clients list",
        "clients show billing", "roles list", "roles show clerk", "scopes list", "keys list",
        "audit list", "stats",
    ],
)  # fmt: skip
def test_a_command_that_looks_into_the_database_imports_nothing_of_the_service(
    command: str, filled: dict[str, str], tmp_path: Path
) -> None:
    modules = loaded(tmp_path, *command.split(), **filled)
    assert modules & SERVICE == set()
    assert "sqlalchemy" in modules
    # The master key, tokens and passwords are nobody's business here.
    assert "cryptography.hazmat.primitives.asymmetric" not in modules


@pytest.fixture
def filled(database_url: str, tmp_path: Path) -> dict[str, str]:
    settings = {"DATABASE_URL": database_url, "BCRYPT_ROUNDS": "4", "TEST_WEAK_HASHING": "1"}
    script = (
        "from identity.cli import run; "
        "[run(c.split()) for c in ('users create ada --generate', 'clients create billing', "
        "'roles create clerk')]"
    )
    command = [sys.executable, "-c", script]
    subprocess.run(
        command, cwd=tmp_path, env=environment(**settings), check=True, capture_output=True
    )
    return settings


def test_help_imports_neither_the_database_nor_the_settings(tmp_path: Path) -> None:
    for args in (["--help"], ["users", "--help"]):
        assert loaded(tmp_path, *args) & (SERVICE | {"sqlalchemy", "identity.settings"}) == set()


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["serve"], ["users", "list"], ["users", "import", "x.csv"]]
)
def test_where_only_the_verifier_is_installed_the_command_says_what_to_install(
    tmp_path: Path, args: list[str]
) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    settings = environment()
    settings["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [bare / "bin" / "python", "-m", "identity", *args], cwd=tmp_path, env=settings,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("identity: ")
    assert done.stderr.count("\n") == 1
    assert "[server]'" in done.stderr
