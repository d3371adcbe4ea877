"""The `identity` command in this process: its output, its exit code, its database."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from identity.cli import run


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def environ(
    settings: Any,
    database_url: str,
    id_token_algorithms: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """The settings in force are this test's, and nothing of the folder it was started in."""
    chosen = {
        "IDENTITY_DATABASE_URL": database_url,
        "IDENTITY_KEYS_DIR": str(tmp_path / "keys"),
        "IDENTITY_ID_TOKEN_ALGORITHMS": id_token_algorithms,
        "IDENTITY_BCRYPT_ROUNDS": "4",
        "IDENTITY_TEST_WEAK_HASHING": "1",
        "IDENTITY_MAIL_FOLDER": "off",
    }
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return chosen


@pytest.fixture
def identity(
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Outcome]:
    """`identity("users", "list")`; `stdin` is what a pipe would bring."""

    def command(*args: str, stdin: str = "") -> Outcome:
        piped = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", piped)
        capsys.readouterr()
        code = run(args)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command
