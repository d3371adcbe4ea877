"""Statements (`store.statements`) given to the driver as text: tuples back.

What is asked on nearly every request, or written by every login, goes this way
(docs/performance.md): by a connection of its own, or within a unit of work by `execute`.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from sqlmodel import Session

from identity.errors import Unavailable
from identity.store.deadlines import left
from identity.store.histories import Histories
from identity.store.statements import DialectName, Statement, Values

if TYPE_CHECKING:
    import psycopg

    from identity.store.connections import AsyncConnection

Row = tuple[Any, ...]

CACHE = "cache_size=-512"
"""KiB a connection of SQLite's; the operating system caches the file for all of them."""


class Driver(Protocol):
    async def query(self, statement: Statement, values: Values) -> list[Row]: ...

    async def close(self) -> None: ...


def moment(value: "str | datetime") -> datetime:
    """A stored time as an aware UTC datetime, whichever way the driver gives it."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)


def document(value: Any) -> Any:
    """A stored JSON value, which PostgreSQL's driver reads itself and SQLite's does not."""
    return json.loads(value) if isinstance(value, str) else value


class Plain:
    """SQLite's connection in a unit of work that does without SQLAlchemy. `info`: as a session's,
    for whoever takes part in the unit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.info: dict[Any, Any] = {}


Work = Session | Plain
"""A unit of work as far as `execute` needs it."""


class Result(Protocol):
    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> Sequence[Any]: ...


def execute(work: Work, statement: Statement, values: Values | Sequence[Values]) -> Result:
    """`statement` within the unit of work, or once for each of several values. In a session it
    costs a fifth of what SQLAlchemy takes to put it together; what the session holds back is not
    written before."""
    if isinstance(work, Plain):
        spelt = statement.sqlite
        if isinstance(values, Mapping):
            return work.connection.execute(spelt.text, spelt.stored(values))
        return work.connection.executemany(spelt.text, map(spelt.stored, values))
    connection = work.connection()
    on_sqlite = connection.dialect.name == "sqlite"
    spelt = statement.sqlite if on_sqlite else statement.postgresql
    if isinstance(values, Mapping):
        return connection.exec_driver_sql(spelt.text, spelt.stored(values))
    return connection.exec_driver_sql(spelt.text, [spelt.stored(each) for each in values])


def dialect(work: Work) -> DialectName:
    if isinstance(work, Plain) or work.get_bind().dialect.name == "sqlite":
        return "sqlite"
    return "postgresql"


def unusable(error: BaseException) -> bool:
    """Whether SQLite says that it cannot be asked: locked, full, not readable, or corrupt."""
    error = getattr(error, "orig", None) or error
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


class SqliteReader:
    """One connection, used in the event loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    async def query(self, statement: Statement, values: Values) -> list[Row]:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    f"file:{self._path}?mode=rw", uri=True, isolation_level=None, timeout=1
                )
                self._connection.execute(f"PRAGMA {CACHE}")
            spelt = statement.sqlite
            return self._connection.execute(spelt.text, spelt.stored(values)).fetchall()
        except sqlite3.DatabaseError as error:
            if not unusable(error):
                raise
            await self.close()
            raise Unavailable(audit=f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresPool:
    """A few connections in autocommit mode, used by the event loop without threads."""

    def __init__(self, url: str, size: int, histories: Histories) -> None:
        self._url = url
        self._histories = histories
        self._free: list[AsyncConnection] = []
        self._places = asyncio.Semaphore(size)
        self.in_use = 0
        """Connections at work."""

    async def query(self, statement: Statement, values: Values) -> list[Row]:
        cursor = await self._execute(statement, values, attempts=2)
        return await cursor.fetchall()

    async def apply(self, statement: Statement, values: Values) -> bool:
        """Whether `statement` changed exactly one row. Not tried again: where the connection is
        lost, nobody knows whether it did."""
        return (await self._execute(statement, values, attempts=1)).rowcount == 1

    async def change(self, statement: Statement, values: Values) -> list[Row]:
        """What `statement`, which writes, answers. Not tried again either."""
        return await (await self._execute(statement, values, attempts=1)).fetchall()

    async def close(self) -> None:
        while self._free:
            await self._free.pop().close()

    async def _execute(
        self, statement: Statement, values: Values, attempts: int
    ) -> "psycopg.AsyncCursor[Any]":
        import psycopg

        spelt = statement.postgresql
        bound = spelt.stored(values)
        try:
            async with asyncio.timeout(left()), self._places:
                for attempt in range(attempts):
                    try:
                        return await self._try(spelt.text, bound)
                    except psycopg.OperationalError:
                        # If one is dead, so are probably all that were kept.
                        await self.close()
                        if attempt + 1 == attempts:
                            raise
        except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction, OSError) as error:
            raise Unavailable(audit=f"{type(error).__name__}: {error}") from error
        raise AssertionError("unreachable")

    async def _try(self, statement: str, values: Values) -> "psycopg.AsyncCursor[Any]":
        connection = await self._take()
        self.in_use += 1
        try:
            cursor = await connection.execute(statement, values)
            connection.check_outcome()
        except BaseException:
            await connection.close()  # its state is not known
            raise
        finally:
            self.in_use -= 1
        self._free.append(connection)
        return cursor

    async def _take(self) -> "AsyncConnection":
        while self._free:
            connection = self._free.pop()
            if connection.generation == self._histories.generation:
                return connection
            await connection.close()
        from identity.store.connections import WORK, AsyncConnection

        return await AsyncConnection.open(self._url, self._histories, application_name=WORK)


def change_one_each(
    connection: sqlite3.Connection, statements: Sequence[Statement], values: Values
) -> bool:
    """Whether every one of `statements` changed exactly one row; if not, nothing is kept.

    Each names its row by a key, so that it changes one or none: one alone leaves nothing behind
    that would have to be undone. A savepoint takes as long as a statement.
    """
    if len(statements) == 1:
        return _changes_one(connection, statements[0], values)
    connection.execute("SAVEPOINT one_each")
    for statement in statements:
        if not _changes_one(connection, statement, values):
            connection.execute("ROLLBACK TO one_each")
            connection.execute("RELEASE one_each")
            return False
    connection.execute("RELEASE one_each")
    return True


def _changes_one(connection: sqlite3.Connection, statement: Statement, values: Values) -> bool:
    spelt = statement.sqlite
    return connection.execute(spelt.text, spelt.stored(values)).rowcount == 1
