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
    "identity.service.wiring", "identity.app", "identity.http.lane", "identity.records.metrics",
}  # fmt: skip
"""Nothing of it is needed to look into the database."""


LOOKING = (
    "users list", "users show ada", "users sessions ada", "users disable ada", "clients list",
    "clients show billing", "roles list", "roles show clerk", "scopes list", "keys list",
    "audit list", "stats",
)  # fmt: skip


def loaded(folder: Path, *commands: str, **settings: str) -> set[str]:
    """Modules of a process that has run these, all of which succeed."""
    script = (
        "import sys; from identity.cli import run; "
        "codes = [run(command.split()) for command in sys.argv[1:]]; "
        "print('\\n' + ' '.join(sys.modules)); sys.exit(any(codes))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *commands], cwd=folder, env=environment(**settings),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


@SQLITE
def test_commands_that_look_into_the_database_import_nothing_of_the_service(
    database_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": database_url, "BCRYPT_ROUNDS": "4", "TEST_WEAK_HASHING": "1"}
    making = ("users create ada --generate", "clients create billing", "roles create clerk")
    loaded(tmp_path, *making, **settings)
    modules = loaded(tmp_path, *LOOKING, **settings)
    assert modules & SERVICE == set()
    assert "sqlalchemy" in modules
    # The master key, tokens and passwords are nobody's business here.
    assert "cryptography.hazmat.primitives.asymmetric" not in modules


@SQLITE
def test_commands_that_need_the_master_key_import_nothing_of_the_service_either(
    database_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": database_url, "BCRYPT_ROUNDS": "4", "TEST_WEAK_HASHING": "1"}
    loaded(tmp_path, "keys rotate", **settings)
    modules = loaded(tmp_path, "audit verify", "doctor --offline", **settings)
    assert modules & SERVICE == set()
    assert {"identity.keys.master", "identity.records.audit.chain"} <= modules


def test_help_imports_neither_the_database_nor_the_settings(tmp_path: Path) -> None:
    for command in ("--help", "users --help"):
        assert loaded(tmp_path, command) & (SERVICE | {"sqlalchemy", "identity.settings"}) == set()


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
