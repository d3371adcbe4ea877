"""SQLAlchemy's engines, set up for durability."""

import errno
import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from identity.settings import Settings, SettingsError
from identity.store.driver import CACHE

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    CACHE,
)
WRITES = "identity_write"
"""Execution option of a connection that will write: it takes SQLite's write lock at once."""


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
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _check(file: Path) -> None:
    """Not by opening it: closing it again would drop the locks that this process has on it."""
    if file.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(file, os.R_OK | os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def postgresql(url: URL, settings: Settings) -> Engine:
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.database.database_pool,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "application_name": "identity"},
    )
