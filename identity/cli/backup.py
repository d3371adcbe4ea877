"""`identity backup FILE`"""

import os
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from identity.cli.frame import Operation, operating, sqlite_path
from identity.cli.printing import remark

if TYPE_CHECKING:
    from identity.settings import Settings


STEP = 256
"""Pages of SQLite's copied at a time: a megabyte."""


def add_to(app: typer.Typer) -> None:
    app.command()(backup)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace it if it exists.")] = False,
) -> None:
    """Copy the database as of one moment, while the service runs or not.

    SQLite: a database file, ready to be used. PostgreSQL: an archive for pg_restore, written by
    pg_dump. The head of the audit chain that is in the file is printed, for `audit verify --head`
    after a restore.
    """
    with operating() as operation:
        path = sqlite_path(operation.settings)
        from identity.store.new_files import new_file

        with new_file(file, replace=force) as draft:
            if path is None:
                head = _dump(operation, draft.descriptor, file)
            else:
                head = _copy(path, draft.path)
        _note(operation, file)
        print(f"head: {head or 'none, nothing is sealed yet'}")
        remark(f"Wrote {file} ({file.stat().st_size:,} octets); it holds password hashes.")
        remark(_about_master_key(operation.settings))


class _Pace:
    """What was copied is on the disk before more is, and pauses are as long as that took: the disk
    and the processor are also those of the service, whose commits wait for them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._began = monotonic()

    def __call__(self, status: int, remaining: int, total: int) -> None:
        os.fsync(self._target)
        sleep(monotonic() - self._began)
        self._began = monotonic()


def _copy(path: Path, target: Path) -> str | None:
    """SQLite's online backup: one snapshot, writers are not kept waiting. The chain's head."""
    from identity.records.audit import AuditHead
    from identity.records.audit.chain import HEAD

    with (
        closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_schema").fetchone()  # of this moment, to the end
        written = os.open(target, os.O_WRONLY)
        try:
            source.backup(copy, pages=STEP, progress=_Pace(written))
        finally:
            os.close(written)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        sound = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        # Where the schema has no such table yet, nothing is sealed.
        named = "SELECT 1 FROM sqlite_master WHERE name = ?"
        sealed = copy.execute(named, [AuditHead.__tablename__]).fetchone()
        head = copy.execute(HEAD.sqlite.text).fetchone() if sealed else None
    if sound != "ok":
        raise OSError(5, f"the database is damaged: {sound}", str(path))
    return "{}:{}".format(*head) if head else None


def _dump(operation: Operation, descriptor: int, file: Path) -> str | None:
    """pg_dump of a snapshot that is ours as well, so that we know its head."""
    from sqlalchemy import func, select

    from identity.records.audit import AuditHead
    from identity.records.audit.chain import HEAD
    from identity.store import execute

    with operation.look() as session:
        snapshot = session.scalar(select(func.pg_export_snapshot()))
        sealed = session.scalar(select(func.to_regclass(AuditHead.__tablename__)))
        found = execute(session, HEAD, {}).fetchall() if sealed else []
        _pg_dump(operation.settings, descriptor, file, str(snapshot))
    return "{}:{}".format(*found[0]) if found else None


def _pg_dump(settings: "Settings", descriptor: int, file: Path, snapshot: str) -> None:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from identity.settings import SettingsError

    parts = conninfo_to_dict(settings.database.database_url.get_secret_value())
    password = parts.pop("password", None)
    command = ["pg_dump", "--format=custom", f"--dbname={make_conninfo('', **parts)}"]
    if shutil.which("pg_dump") is None:
        raise SettingsError(
            "pg_dump is not on PATH; where it is, run (the password in PGPASSWORD): "
            f"{shlex.join([*command, f'--file={file}'])}"
        )
    environment = dict(os.environ)
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    done = subprocess.run(  # noqa: S603 - the arguments are our own
        [*command, f"--snapshot={snapshot}"],
        stdout=descriptor,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise SettingsError(f"pg_dump failed: {'; '.join(said)}")


def _note(operation: Operation, file: Path) -> None:
    """On record, where the schema is far enough for that: backups come before migrations."""
    from sqlalchemy.exc import SQLAlchemyError

    from identity.errors import Unavailable
    from identity.records import audit

    with suppress(SQLAlchemyError, Unavailable), operation.change() as session:
        audit.record(session, "database.backed_up", file=str(file.absolute()))


def _about_master_key(settings: "Settings") -> str:
    from identity.keys.master import FILE, SETTING

    where = SETTING if settings.keys.master_key is not None else settings.keys.keys_dir / FILE
    return (
        f"The master key ({where}) is not in it: back it up too, but apart. "
        "Without it the signing keys cannot be read."
    )
