"""The database: one engine for SQLite or PostgreSQL, and the boundary where work is committed.

A unit of work is a plain function of a `Session`. It may flush, never commit: `Database.write`
commits, and what it commits is durable when the awaited call returns. An OAuth refusal raised
inside keeps what the unit wrote (a replay's revocation must stick); any other exception rolls
back. Units may be run again after a deadlock or a lost connection, so they touch nothing else.

SQLite answers reads in the event loop (microseconds, measured: quicker than any thread) and
writes on one thread that commits all waiting units at once, each in a savepoint of its own.
PostgreSQL runs both on a small pool of threads.
"""

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    create_engine,
    event,
)
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine.url import make_url
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, SQLModel

from identity.errors import IdentityError, Unavailable
from identity.settings import Settings, SettingsError

T = TypeVar("T")
Unit = Callable[[Session], T]

# Names by rule, so that a migration can name what it drops, on both databases.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

GROUP = 32
"""Units of work that one SQLite commit carries at the most."""
ATTEMPTS = 4


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases (SQLite stores it naive)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BIG = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit integer; SQLite's own are that, and only so named do they number rows."""


class Database:
    """See the module. `before_commit` hooks run last in every write, in order."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database.database_url.get_secret_value())
        self.dialect: Literal["sqlite", "postgresql"]
        if url.drivername.startswith("sqlite"):
            self.dialect = "sqlite"
            self.engine = _sqlite(url.database or "")
            self._writer: _Writer | None = _Writer(self)
        else:
            self.dialect = "postgresql"
            self.engine = _postgresql(url.set(drivername="postgresql+psycopg"), settings)
            self._writer = None
        self.before_commit: list[Callable[[Session], None]] = []
        self._threads = ThreadPoolExecutor(settings.database.database_pool, "database")

    async def read(self, unit: Unit[T]) -> T:
        """The unit's result; nothing it writes is kept. Raises `Unavailable`."""
        if self._writer is not None:
            return self._read(unit)
        return await self._in_thread(self._read, unit)

    async def write(self, unit: Unit[T]) -> T:
        """The unit's result, committed and durable. Raises `Unavailable`."""
        if self._writer is not None:
            return await asyncio.wrap_future(self._writer.submit(unit))
        return await self._in_thread(self._write, unit)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write for synchronous callers (command line, tests): commits at the end."""
        with (
            _unavailable(),
            self._connect() as connection,
            connection.begin(),
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session
            self.finish(session)

    def finish(self, session: Session) -> None:
        """The last statements of a transaction: what was flushed late, and the change feed."""
        session.flush()
        for hook in self.before_commit:
            hook(session)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._threads.shutdown()
        self.engine.dispose()

    @property
    def in_use(self) -> int:
        """Connections at work."""
        return int(getattr(self.engine.pool, "checkedout", lambda: 0)())

    def _connect(self) -> Connection:
        return self.engine.connect().execution_options(identity_write=True)

    async def _in_thread(self, run: Callable[[Unit[T]], T], unit: Unit[T]) -> T:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, context.run, run, unit)

    def _read(self, unit: Unit[T]) -> T:
        with _unavailable():
            for attempt in range(ATTEMPTS):
                try:
                    with Session(self.engine, expire_on_commit=False) as session:
                        return unit(session)
                except sa_exc.DBAPIError as error:
                    if not _again(error) or attempt + 1 == ATTEMPTS:
                        raise
        raise AssertionError("unreachable")

    def _write(self, unit: Unit[T]) -> T:
        with _unavailable():
            for attempt in range(ATTEMPTS):
                committing = False
                try:
                    with Session(self.engine, expire_on_commit=False) as session:
                        outcome = run_unit(self, session, unit)
                        committing = True
                        session.commit()
                    return outcome()
                except sa_exc.DBAPIError as error:
                    # A connection lost during the commit itself leaves its outcome unknown.
                    if committing or not _again(error) or attempt + 1 == ATTEMPTS:
                        raise
        raise AssertionError("unreachable")


def run_unit(db: Database, session: Session, unit: Unit[T]) -> Callable[[], T]:
    """Run `unit` up to its commit; what comes back returns its result or raises its refusal."""
    try:
        result = unit(session)
    except IdentityError as refusal:
        if not refusal.commits:
            raise
        db.finish(session)
        kept = refusal

        def refuse() -> T:
            raise kept

        return refuse
    db.finish(session)
    return lambda: result


def insert_unique(session: Session, row: SQLModel, conflict: IdentityError) -> None:
    """Flush `row`, or raise `conflict` where the database already holds its like."""
    try:
        with session.begin_nested():
            session.add(row)
    except sa_exc.IntegrityError:
        raise conflict from None


class _Writer:
    """SQLite's one writer in this process: a thread that commits waiting units in groups."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()

    def submit(self, unit: Unit[T]) -> "Future[T]":
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                    self._thread.start()
        job = _Job(unit)
        self._queue.put(job)
        return job.future

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        closing = False
        while not closing:
            jobs: list[_Job] = []
            job = self._queue.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) == GROUP or self._queue.empty():
                    break
                job = self._queue.get()
            closing = job is None
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list["_Job"]) -> None:
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        try:
            with _unavailable(), self._db._connect() as connection, connection.begin():
                for job in jobs:
                    job.run(self._db, connection)
        except BaseException as error:
            for job in jobs:
                job.future.set_exception(error)
        else:
            for job in jobs:
                job.answer()


class _Job:
    def __init__(self, unit: Unit[Any]) -> None:
        self.unit = unit
        self.future: Future[Any] = Future()
        self.context = contextvars.copy_context()
        self.outcome: Callable[[], Any] | None = None
        self.error: BaseException | None = None

    def run(self, db: Database, connection: Connection) -> None:
        session = Session(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        with session:
            try:
                self.outcome = self.context.run(run_unit, db, session, self.unit)
                session.commit()
            except Exception as error:
                self.error = error
                session.rollback()

    def answer(self) -> None:
        try:
            if self.error is not None:
                raise self.error
            assert self.outcome is not None
            result = self.outcome()
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn "the database cannot be asked" into the error that says so."""
    try:
        yield
    except (sa_exc.OperationalError, sa_exc.InterfaceError, sa_exc.TimeoutError) as error:
        raise Unavailable(audit=f"{type(error).__name__}: {error.args[0]}") from error


def _again(error: sa_exc.DBAPIError) -> bool:
    """Deadlocks, serialisation failures and connections found dead are worth another try."""
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state in ("40001", "40P01")


def _sqlite(path: str) -> Engine:
    file = Path(path)
    if path != ":memory:":
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # it holds password hashes
        except OSError as error:
            raise SettingsError(f"IDENTITY_DATABASE_URL: {path}: {error.strerror}") from None
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA busy_timeout=5000")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("identity_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: Any, settings: Settings) -> Engine:
    size = settings.database.database_pool
    return create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        connect_args={"connect_timeout": 5, "application_name": "identity"},
    )
