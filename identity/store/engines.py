"""SQLAlchemy's engines, set up for durability."""

import errno
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError

from identity.settings import SettingsError
from identity.store.driver import CACHE
from identity.store.histories import Histories
from identity.store.jobs import current_job, job_left

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    CACHE,
)
WRITES = "identity_write"
"""Execution option of a connection that will write: it takes SQLite's write lock at once."""
BEGUN = "identity_begun"
"""Execution option of a connection whose transactions are begun by its driver, before SQLAlchemy is
told."""


def sqlite(path: str) -> Engine:
    """The file is made where there is none, readable by its owner only. Raises `SettingsError`."""
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            _check(file)
        else:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # it holds password hashes
    except OSError as error:
        raise SettingsError(f"IDENTITY_DATABASE_URL: {path}: {error.strerror}") from None
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get(BEGUN):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES) else "BEGIN")

    return engine


def _check(file: Path) -> None:
    """Not by opening it: closing it again would drop the locks that this process has on it."""
    if file.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(file, os.R_OK | os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def check_address(text: str) -> None:
    """ValueError where it is not libpq's."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        raise ValueError from None


def postgresql(text: str, size: int, histories: Histories) -> Engine:
    """`text`: libpq's address."""
    from identity.store.connections import WORK, Connection

    def connect() -> Connection:
        made = Connection.open(text, histories, job_left(), application_name=WORK)
        made.autocommit = False
        return made

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        hide_parameters=True,
    )

    @event.listens_for(engine, "checkout")
    def _check(connection: Any, record: Any, proxy: Any) -> None:
        if connection.generation != histories.generation:
            raise DisconnectionError  # the pool makes another one
        if (job := current_job()) is not None:
            job.hold(connection)

    @event.listens_for(engine, "checkin")
    def _release(connection: Any, record: Any) -> None:
        if (job := current_job()) is not None:
            job.release()

    return engine
