"""See the package. Everything that reads or writes goes through a `Database`."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from sqlalchemy import Connection
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine.url import make_url
from sqlmodel import Session

from identity.errors import IdentityError, Unavailable
from identity.settings import Settings, SettingsError
from identity.store import engines
from identity.store.driver import (
    Plain,
    PostgresPool,
    Row,
    SqliteReader,
    Work,
    unusable,
)
from identity.store.files import Files
from identity.store.histories import Histories
from identity.store.jobs import current_job, in_thread
from identity.store.late import Late
from identity.store.statements import Statement, Values
from identity.store.turns import Turns
from identity.store.wal import WalIndex
from identity.store.writer import PlainJob, StatementsJob, UnitJob, Writer

T = TypeVar("T")
W = TypeVar("W", Session, Plain, Work)
Unit = Callable[[Session], T]


@runtime_checkable
class Checked(Protocol):
    """PostgreSQL's connections, see `store.connections`."""

    def check_outcome(self) -> None: ...


ATTEMPTS = 4
READ_ONLY = "25006"
"""SQLSTATE of a write where none is taken: the primary has become a standby."""


class Database:
    """`before_commit` hooks run last in every write, in order."""

    def __init__(self, settings: Settings) -> None:
        text = settings.database.database_url.get_secret_value()
        self.address = re.sub(r"(?<=//)([^:@/]*):[^@]*@", r"\1@", text).partition("?")[0]
        """Where it is, without a password."""
        self.dialect: Literal["sqlite", "postgresql"]
        self._writer: Writer | None = None
        self._reader: SqliteReader | None = None
        self._pool: PostgresPool | None = None
        self.files: Files | None = None
        self.when_lost: Callable[[], object] = lambda: None
        """Called once when SQLite's files are found to be others than those that were opened."""
        self.histories = Histories(for_tests=settings.passwords.test_weak_hashing)
        self.turns = Turns(self.histories)
        self.late = Late()
        threads = 1
        if text.startswith("sqlite:"):
            url = make_url(text)
            self.dialect = "sqlite"
            self.engine = engines.sqlite(url.database or "")
            self.files = Files(url.database or "", lambda: self.when_lost())
            self._writer = Writer(self.engine, self.files, self.late.committed)
            self._reader = SqliteReader(url.database or "")
        else:
            self.dialect = "postgresql"
            try:
                engines.check_address(text)
            except ValueError:  # what it says may hold the password
                raise SettingsError("IDENTITY_DATABASE_URL: is not the URL of a database") from None
            # One number for both: what the event loop asks itself, and units on threads.
            asked = settings.database.database_pool // 2
            threads = settings.database.database_pool - asked
            self.engine = engines.postgresql(text, threads, self.histories)
            self._pool = PostgresPool(text, asked, self.histories)
        self._indexes: list[WalIndex] = []
        self.before_commit: list[Callable[[Work], None]] = []
        self._threads = ThreadPoolExecutor(threads, "database")

    async def read(self, unit: Unit[T]) -> T:
        """The unit's result; nothing it writes is kept. Raises `Unavailable`."""
        if self._writer is not None:
            return self._read(unit)
        return await self._in_thread(self._read, unit)

    async def write(self, unit: Unit[T]) -> T:
        """The unit's result, committed and durable. Raises `Unavailable`."""
        if self._writer is not None:
            return await self._writer.submit(UnitJob(lambda session: self.run_unit(session, unit)))
        return await self._in_thread(self._write, unit)

    async def write_plain(self, unit: Callable[[Work], T]) -> T:
        """As `write`, for a unit that needs nothing but `execute`: SQLite does without SQLAlchemy,
        which would take twice as long as all the rest of it."""
        if self._writer is not None:
            return await self._writer.submit(PlainJob(lambda work: self.run_unit(work, unit)))
        return await self._in_thread(self._write, unit)

    async def query(self, statement: Statement, values: Values) -> list[Row]:
        """What the driver answers to one look-up. Raises `Unavailable`."""
        if self._reader is not None:
            return await self._reader.query(statement, values)
        assert self._pool is not None
        return await self._pool.query(statement, values)

    async def apply(
        self, *, sqlite: Sequence[Statement], postgresql: Statement, values: Values
    ) -> bool:
        """Change exactly one row, named by its key, by each of SQLite's statements, or by
        PostgreSQL's one, in a transaction; False where a row was not as the conditions say.
        Durable on return."""
        if self._writer is not None:
            return await self._writer.submit(StatementsJob(sqlite, values))
        assert self._pool is not None
        return await self._pool.apply(postgresql, values)

    async def write_at_once(self, statement: Statement, values: Values) -> list[Row]:
        """What PostgreSQL answers to one statement that writes, durable on return: as much as a
        unit of work, for one round trip. No row: it has changed nothing, and a unit decides. Never
        one on SQLite, which takes no such statements and to which there is no way to save."""
        return [] if self._pool is None else await self._pool.change(statement, values)

    def wal_index(self) -> WalIndex | None:
        """SQLite's, for who holds a connection of its own that has read; closed with the rest."""
        index = WalIndex.of(self.engine.url.database or "")
        if index is not None:
            self._indexes.append(index)
        return index

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
            raw: Any = connection.connection.dbapi_connection
        if isinstance(raw, Checked):
            raw.check_outcome()
        self.late.committed(session.info)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """One consistent view for synchronous callers, in which nothing is written and nobody is
        kept waiting."""
        connection = self.engine.connect()
        with connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with Session(connection) as session:
                yield session

    def finish(self, work: Work) -> None:
        """The last statements of a transaction: what was flushed late, and the change feed."""
        if isinstance(work, Session):
            work.flush()
        for hook in self.before_commit:
            hook(work)

    def run_unit(self, work: W, unit: Callable[[W], T]) -> Callable[[], T]:
        """`unit` up to its commit; what comes back returns its result or raises its refusal."""
        try:
            result = unit(work)
        except IdentityError as refusal:
            if not refusal.commits:
                raise
            self.finish(work)
            kept = refusal

            def refuse() -> T:
                raise kept

            return refuse
        self.finish(work)
        return lambda: result

    def close(self) -> None:
        """For synchronous callers, and the last step of `aclose`."""
        if self._writer is not None:
            self._writer.close()
        self._threads.shutdown()
        self.engine.dispose()
        while self._indexes:  # last: see `wal`
            self._indexes.pop().close()
        if self.files is not None:
            self.files.close()

    async def aclose(self) -> None:
        """Finish what was asked for, and let go of the database."""
        for driver in (self._reader, self._pool):
            if driver is not None:
                await driver.close()
        self.close()

    @property
    def in_use(self) -> int:
        """Connections at work."""
        asking = self._pool.in_use if self._pool is not None else 0
        return asking + int(getattr(self.engine.pool, "checkedout", lambda: 0)())

    def _connect(self) -> Connection:
        return self.engine.connect().execution_options(**{engines.WRITES: True})

    async def _in_thread(self, run: Callable[[Unit[T]], T], unit: Unit[T]) -> T:
        return await in_thread(self._threads, partial(run, unit))

    def _read(self, unit: Unit[T]) -> T:
        if self.files is not None:
            self.files.check()
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
                session = Session(self.engine, expire_on_commit=False)
                try:
                    with session:
                        outcome = self.run_unit(session, unit)
                        committing = True
                        raw: Any = session.connection().connection.dbapi_connection
                        session.commit()
                        if isinstance(raw, Checked):
                            raw.check_outcome()
                        self.late.committed(session.info)
                    return outcome()
                except Unavailable:
                    self.late.unknown(session.info)  # committed here, and perhaps not there
                    raise
                except sa_exc.DBAPIError as error:
                    # A connection lost during the commit itself leaves its outcome unknown.
                    if committing:
                        self.late.unknown(session.info)
                    if committing or not _again(error) or attempt + 1 == ATTEMPTS:
                        raise
        raise AssertionError("unreachable")


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn "the database cannot be asked" into the error that says so."""
    try:
        yield
    except sa_exc.InvalidRequestError as error:
        if str(error) != "This connection is closed":  # nor the ones that took its place
            raise
        raise Unavailable(audit="connections of another history, one after another") from error
    except (sa_exc.DBAPIError, sa_exc.TimeoutError) as error:
        asked = not isinstance(
            error, (sa_exc.OperationalError, sa_exc.InterfaceError, sa_exc.TimeoutError)
        )
        read_only = getattr(getattr(error, "orig", None), "sqlstate", None) == READ_ONLY
        if asked and not unusable(error) and not read_only:
            raise
        raise Unavailable(audit=f"{type(error).__name__}: {error.args[0]}") from error


def _again(error: sa_exc.DBAPIError) -> bool:
    """Deadlocks, serialisation failures and connections found dead are worth another try, while
    somebody waits for it."""
    job = current_job()
    if job is not None and job.expired:
        return False
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state in ("40001", "40P01")
