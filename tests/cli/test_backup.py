"""`identity backup`: a copy of one moment, fit to go on from."""

import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from identity.keys import master
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.service.opening import audit_keys
from identity.store import Database

Identity = Callable[..., Any]
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"])


@SQLITE
def test_a_copy_made_while_others_write_is_a_database_to_go_on_from(
    identity: Identity, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity("users", "create", "ada", "--generate")
    # A transaction that is open meanwhile is no part of it, and is not kept waiting.
    with closing(sqlite3.connect(tmp_path / "identity.db", isolation_level=None)) as writer:
        writer.execute(
            "INSERT INTO scope (name, description, builtin, version, created_at, updated_at) "
            "VALUES ('s', '', 0, 1, '', '')"
        )
        done = identity("backup", "copy.db")
    assert done.code == 0, done
    copy = tmp_path / "copy.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("*copy.db*")] == ["copy.db"]
    assert "back it up too, but apart" in done.err
    monkeypatch.setenv("IDENTITY_DATABASE_URL", f"sqlite:///{copy}")
    assert "ada" in identity("users", "list").out
    with db.transaction() as session:
        event = session.exec(
            select(AuditEvent).where(AuditEvent.event == "database.backed_up")
        ).one()
    assert event.detail == {"file": str(copy)}


@SQLITE
def test_what_is_written_between_two_steps_is_no_part_of_it_and_does_not_wait(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who copies pauses: others write meanwhile, first and last pages, and check the log back."""
    from identity.cli import backup

    source, copy = tmp_path / "identity.db", tmp_path / "copied.db"
    copy.touch()
    db.engine.dispose()
    steps = 0
    with closing(sqlite3.connect(source, isolation_level=None, timeout=0)) as writer:

        def write(seconds: float) -> None:
            nonlocal steps
            steps += 1
            writer.execute(
                "INSERT INTO scope (name, description, builtin, version, created_at, updated_at) "
                f"VALUES ('s{steps}', '{'x' * 9000}', 0, 1, '', '')"
            )
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

        def scopes(file: Path) -> list[Any]:
            with closing(sqlite3.connect(file)) as database:
                return database.execute("SELECT name FROM scope ORDER BY name").fetchall()

        before = scopes(source)
        monkeypatch.setattr(backup, "STEP", 3)
        monkeypatch.setattr(backup, "sleep", write)
        backup._copy(source, copy)
        assert scopes(copy) == before
        assert len(scopes(source)) == len(before) + steps
    assert steps > 20


@SQLITE
def test_a_file_that_exists_is_kept_unless_forced(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    done = identity("backup", "copy.db")
    assert (done.code, done.err) == (1, "identity: copy.db: exists already; nothing was written\n")
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert identity("backup", "copy.db", "--force").code == 0
    assert (tmp_path / "copy.db").read_bytes().startswith(b"SQLite format 3")
    told = identity("backup", "no/such/folder.db").err
    assert told == "identity: no/such/folder.db: No such file or directory\n"


@SQLITE
def test_a_database_whose_schema_is_behind_can_be_backed_up(
    identity: Identity, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "identity.db")) as database:
        database.execute("DROP TABLE audit_event")
        database.commit()
    assert identity("backup", "copy.db").code == 0


@POSTGRESQL
def test_pg_dump_writes_an_archive_and_never_sees_the_password_in_its_arguments(
    identity: Identity, tmp_path: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity("users", "create", "ada", "--generate")
    real = postgres._binaries / "pg_dump"
    fake = tmp_path / "bin" / "pg_dump"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    done = identity("backup", "copy.dump")
    assert done.code == 0, done
    assert (tmp_path / "copy.dump").read_bytes().startswith(b"PGDMP")
    assert stat.S_IMODE((tmp_path / "copy.dump").stat().st_mode) == 0o600
    assert postgres._password not in (tmp_path / "seen").read_text()
    listed = subprocess.run(
        [postgres._binaries / "pg_restore", "--list", "copy.dump"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert "TABLE DATA public user_account" in listed


@POSTGRESQL
def test_without_pg_dump_the_command_to_run_is_told_without_the_password(
    identity: Identity, postgres: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    done = identity("backup", "copy.dump")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "pg_dump --format=custom" in done.err
    assert "--file=copy.dump" in done.err
    assert postgres._password not in done.err
    assert not (tmp_path / "copy.dump").exists()


@POSTGRESQL
def test_a_dump_that_fails_says_why_and_leaves_no_file(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bin" / "pg_dump"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho half; echo "pg_dump: error: no room" >&2; exit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    done = identity("backup", "copy.dump")
    assert (done.code, done.err) == (1, "identity: pg_dump failed: pg_dump: error: no room\n")
    assert list(tmp_path.glob("*copy.dump*")) == []


def seal(db: Database, settings: Any) -> None:
    with db.transaction() as session:
        key = audit_keys(master.load(session, settings))[0]
        while audit.seal(session, key):
            pass


def test_a_restored_backup_contains_the_head_that_was_printed_for_it(
    identity: Identity, db: Database, settings: Any, database_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, dialect: str, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if dialect == "postgresql":
        tools = request.getfixturevalue("postgres")._binaries
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert identity("backup", "empty.backup").out == "head: none, nothing is sealed yet\n"
    identity("users", "create", "ada", "--generate")
    seal(db, settings)
    identity("users", "create", "bob", "--generate")  # in the file, not sealed yet
    done = identity("backup", "nightly.backup")
    head = done.out.removeprefix("head: ").strip()
    assert done.code == 0, done
    seal(db, settings)  # the service goes on, and its chain with it
    later = identity("audit", "verify").out.splitlines()[0].removeprefix("head: ")
    assert later != head
    assert identity("audit", "verify", "--head", head).code == 0

    db.close()
    if dialect == "sqlite":
        shutil.copy("nightly.backup", "identity.db")
        for beside in ("identity.db-wal", "identity.db-shm"):
            Path(beside).unlink(missing_ok=True)
    else:
        subprocess.run(
            [tools / "pg_restore", "--clean", "--if-exists", "--no-owner",
             f"--dbname={database_url}", "nightly.backup"],
            check=True, capture_output=True,
        )  # fmt: skip
    restored = identity("audit", "verify", "--head", head)
    assert (restored.code, restored.err) == (0, "The chain is whole.\n"), restored
    assert f"head: {head}\n" in restored.out
    assert identity("audit", "verify", "--head", later).code == 1
