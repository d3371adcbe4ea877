"""The command as a process: exit codes, one line for a mistake, nothing imported in vain."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from identity.cli import run, serving
from tests.databases import environment, free_port

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


def spawn(folder: Path, *args: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "identity", *args],
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("identity: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_help_names_every_command_and_imports_none_of_the_service(tmp_path: Path) -> None:
    script = (
        "import sys; from identity.cli import run; code = run(['--help']); "
        "print([m for m in sys.modules if m.startswith(('sqlalchemy', 'fastapi', 'pydantic', "
        "'rich', 'identity.')) and not m.startswith('identity.cli')]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for name in (
        "serve", "migrate", "doctor", "backup",
        "users", "clients", "roles", "scopes", "keys", "tokens", "audit",
    ):  # fmt: skip
        assert f"\n  {name} " in done.stdout
    assert done.stdout.endswith("\n['identity.dataclass']\n")


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (
            "users",
            ["list", "show", "create", "disable", "enable", "delete", "set-password", "grant",
             "revoke", "import"],
        ),
        ("clients", ["list", "create", "rotate-secret", "delete"]),
        ("roles", ["list", "create", "delete"]),
        ("keys", ["list", "rotate", "revoke", "import", "export", "rotate-master"]),
        ("tokens", ["explain"]),
        ("audit", ["list", "verify"]),
    ],
)  # fmt: skip
def test_every_command_has_its_own_help(
    group: str, names: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        assert run([group, name, "--help"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"Usage: identity {group} {name} ")


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["user"], "users"),
        (["users", "crate"], "create"),
        (["users", "show"], "Missing argument"),
        (["users", "list", "--colour"], "--colour"),
        (["users", "list", "--limit", "none"], "--limit"),
        (["users"], "Missing command"),
        (["serve", "--port", "70000"], "--port"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "--workers", "0"], "--workers"),
        (["serve", "now"], "now"),
        (["users", "import", "missing.csv"], "missing.csv"),
    ],
)
def test_a_usage_mistake_is_one_line_and_code_2(tmp_path: Path, args: list[str], word: str) -> None:
    assert_one_line(spawn(tmp_path, *args), 2, word, "--help")


def test_no_command_at_all_shows_the_help_and_is_a_usage_mistake(tmp_path: Path) -> None:
    done = spawn(tmp_path)
    assert done.returncode == 2
    assert "Usage: identity" in done.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"COLOUR": "red"}, ["IDENTITY_COLOUR"]),
        ({"ACCESS_TOKEN_TTL": "soon"}, ["IDENTITY_ACCESS_TOKEN_TTL", "soon"]),
        ({"DATABASE_URL": "mysql://root:hunter2@db/x"}, ["IDENTITY_DATABASE_URL"]),
        ({}, ["var/identity.db", "identity migrate"]),
        ({"DATABASE_URL": "sqlite:////proc/no/such.db"}, ["/proc/no/such.db"]),
        ({"DATABASE_URL": "postgresql://root:hunter2@db:port/x"}, ["IDENTITY_DATABASE_URL"]),
        ({"DATABASE_URL": f"sqlite:///{__file__}"}, ["IDENTITY_DATABASE_URL", "not a database"]),
    ],
)
def test_wrong_settings_and_a_missing_database_are_one_line(
    tmp_path: Path, settings: dict[str, str], words: list[str]
) -> None:
    done = spawn(tmp_path, "users", "list", **settings)
    assert_one_line(done, 1, *words)
    assert "hunter2" not in done.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"KEYS_DIR": "/proc/none"}, "IDENTITY_KEYS_DIR"),
        ({"MASTER_KEY": "hunter2"}, "IDENTITY_MASTER_KEY"),
        ({"HOST": "nowhere.invalid"}, "IDENTITY_HOST"),
        ({"PORT": "http"}, "IDENTITY_PORT"),
        ({"DATABASE_URL": "sqlite:////"}, "IDENTITY_DATABASE_URL"),
        ({"DATABASE_URL": "postgresql:///x?sslmode=wish"}, "IDENTITY_DATABASE_URL"),
        ({"BOOTSTRAP_ADMIN_PASSWORD": "hunter2"}, "IDENTITY_BOOTSTRAP_ADMIN_PASSWORD"),
    ],
)
def test_a_start_that_is_refused_names_the_setting(
    tmp_path: Path, settings: dict[str, str], name: str
) -> None:
    usual = {"BOOTSTRAP_ADMIN_PASSWORD": "tangerine harbour 71"}
    done = spawn(tmp_path, "serve", **{**usual, **settings})
    assert_one_line(done, 1, name)
    assert "hunter2" not in done.stderr


def test_a_file_of_settings_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"IDENTITY_PORT=\xff\n")
    assert_one_line(spawn(tmp_path, "users", "list"), 1, ".env")


def test_a_database_that_cannot_be_reached_is_one_line_without_its_password(
    tmp_path: Path,
) -> None:
    url = f"postgresql://identity:hunter2@127.0.0.1:{free_port()}/identity"
    for command in (["users", "list"], ["serve"]):
        done = spawn(tmp_path, *command, DATABASE_URL=url)
        assert_one_line(done, 1, "refused")
        assert "hunter2" not in done.stderr


def test_a_database_that_is_not_migrated_names_the_command_to_run(
    tmp_path: Path, empty_database_url: str
) -> None:
    (tmp_path / "empty.db").touch()
    for command in (["users", "list"], ["users", "enable", "ada"]):
        done = spawn(tmp_path, *command, DATABASE_URL=empty_database_url)
        assert_one_line(done, 1, "identity migrate")


def test_migrate_says_what_it_did_and_may_be_repeated(
    tmp_path: Path, empty_database_url: str
) -> None:
    first = spawn(tmp_path, "migrate", DATABASE_URL=empty_database_url)
    assert (first.returncode, "from nothing to" in first.stderr) == (0, True)
    again = spawn(tmp_path, "migrate", DATABASE_URL=empty_database_url)
    assert (again.returncode, "up to date" in again.stderr) == (0, True)


def test_production_does_not_start_on_a_schema_that_is_behind(
    tmp_path: Path, empty_database_url: str
) -> None:
    (tmp_path / "empty.db").touch()
    done = spawn(
        tmp_path, "serve", "--port", str(free_port()),
        DATABASE_URL=empty_database_url, ENVIRONMENT="production",
        BOOTSTRAP_ADMIN_PASSWORD="correct horse battery",
    )  # fmt: skip
    assert_one_line(done, 1, "identity migrate")


@pytest.mark.parametrize(
    "options",
    [
        "", "--port 0", "--port 65535", "--port 65536", "--port -1", "--port=9000", "--port 09000",
        "--port ²", "--port 9 --port 10", "--workers 1", "--workers 64", "--workers 65", "--port",
        "--host ::1 --port 9 --workers 2", "--host --port", "--host=", "--help", "now", "--colour",
    ],
)  # fmt: skip
def test_serve_is_understood_alike_with_and_without_typer(
    options: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(serving, "serve", lambda given: started.append(given) or 0)
    args = ["serve", *options.split()]
    without = run(args), started.copy(), capsys.readouterr()
    started.clear()
    monkeypatch.setattr(serving, "plain", lambda args: None)
    assert (run(args), started, capsys.readouterr()) == without


@SQLITE
def test_a_serving_process_holds_nothing_that_only_other_commands_need(
    tmp_path: Path, database_url: str
) -> None:
    script = (
        "import atexit, sys; from identity.cli import main; "
        "atexit.register(lambda: print(*sys.modules)); "
        f"sys.argv[1:] = ['serve', '--port', '{free_port()}']; main()"
    )
    settings = environment(DATABASE_URL=database_url, BCRYPT_ROUNDS="4", TEST_WEAK_HASHING="1")
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=settings,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if '"serving"' in line:
            break
    process.send_signal(signal.SIGTERM)
    loaded = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    assert {"identity.app", "sqlalchemy.dialects.sqlite"} <= set(loaded)
    heavy = {
        "typer", "rich", "alembic", "fastapi", "email_validator", "prometheus_client",
        "psycopg", "sqlalchemy.dialects.postgresql",
    }  # fmt: skip
    assert heavy & set(loaded) == set()


@SQLITE
def test_a_reader_that_leaves_early_is_no_error_to_shout_about(
    tmp_path: Path, database_url: str
) -> None:
    rows = "".join(f"user{number}\n" for number in range(3000))
    (tmp_path / "users.csv").write_text(f"username\n{rows}")
    settings = environment(DATABASE_URL=database_url)
    command = f"{sys.executable} -m identity users"
    subprocess.run(
        f"{command} import users.csv", shell=True, cwd=tmp_path, env=settings,
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    done = subprocess.run(
        f"{command} list | head -n 1", shell=True, cwd=tmp_path, env=settings,
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("USERNAME")
    assert done.stderr == ""


@SQLITE
def test_a_password_is_asked_for_without_echo_and_control_c_leaves_quietly(
    tmp_path: Path, database_url: str
) -> None:
    secret = "correct horse battery"
    settings = {"DATABASE_URL": database_url, "BCRYPT_ROUNDS": "4", "TEST_WEAK_HASHING": "1"}
    terminal = Terminal(tmp_path, ["users", "create", "ada"], settings)
    terminal.answer("Password: ", secret)
    terminal.answer("Repeat for confirmation: ", secret)
    said, code = terminal.end()
    assert code == 0, said
    assert secret not in said
    assert "Created ada" in said

    terminal = Terminal(tmp_path, ["users", "delete", "ada"], settings)
    terminal.answer("Delete ada for good? [y/N]: ", "n")
    said, code = terminal.end()
    assert (code, "Nothing was changed." in said) == (1, True)

    terminal = Terminal(tmp_path, ["users", "create", "bob"], settings)
    terminal.expect("Password: ")
    terminal.process.send_signal(signal.SIGINT)
    said, code = terminal.end()
    assert code == 130
    assert "Traceback" not in said


@SQLITE
@pytest.mark.parametrize(("wanted", "there"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_there_is_colour_on_a_terminal_only_and_not_where_it_is_unwanted(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, str], there: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    settings = {"DATABASE_URL": database_url, "BCRYPT_ROUNDS": "4", "TEST_WEAK_HASHING": "1"}
    assert spawn(tmp_path, "users", "create", "ada", "--generate", **settings).returncode == 0
    assert spawn(tmp_path, "users", "disable", "ada", **settings).returncode == 0
    said, code = Terminal(tmp_path, ["users", "list"], settings).end()
    assert code == 0
    assert ("\033[1mUSERNAME" in said, "\033[31mdisabled\033[0m" in said) == (there, there)
    piped = spawn(tmp_path, "users", "list", **settings).stdout
    assert "disabled" in piped
    assert "\033" not in piped
    assert "\033" in said or not there


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, folder: Path, args: list[str], settings: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "identity", *args],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
            env=environment(**settings), start_new_session=True,
            # A shell lets what it starts in the background ignore it, and that is inherited.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        os.close(theirs)
        self.said = ""

    def answer(self, question: str, text: str) -> None:
        self.expect(question)
        os.write(self._ours, f"{text}\n".encode())

    def expect(self, words: str) -> None:
        deadline = time.monotonic() + 30
        before = len(self.said)
        while words not in self.said[before:]:
            assert time.monotonic() < deadline, self.said
            self._read()

    def end(self) -> tuple[str, int]:
        while self._read():
            pass
        code = self.process.wait(30)
        os.close(self._ours)
        return self.said, code

    def _read(self) -> bool:
        assert select.select([self._ours], [], [], 30)[0], self.said
        try:
            octets = os.read(self._ours, 4096)
        except OSError:  # the other end is closed
            return False
        self.said += octets.decode()
        return bool(octets)


def test_what_nobody_foresaw_is_one_line_too(
    identity: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr("identity.service.opening.open_database", explode)
    done = identity("users", "list")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("identity: RuntimeError: boom (")
    monkeypatch.setenv("IDENTITY_LOG_LEVEL", "debug")
    assert "in explode" in identity("users", "list").err
