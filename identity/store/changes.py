"""The change feed: what any process has done since this one last looked.

Whoever ends, revokes or changes something that a process may remember writes a row here in the
same transaction. Whoever answers from memory first awaits `catch_up()`: when it returns, memory
reflects every commit that ended before the call. One indexed query answers it; SQLite is asked only
when somebody has committed (`store.wal`), and on PostgreSQL requests that arrive while a query is
under way share the next one, so its cost falls under load.

Order: ids must become visible in increasing order, or "greater than the last one I saw" skips a
row. SQLite has one writer. On PostgreSQL writers take an advisory lock as the last thing before
they commit, so that an id is drawn and made visible by one transaction at a time.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import func
from sqlmodel import Field, Session, SQLModel, col, select

from identity.clock import utcnow
from identity.errors import Unavailable
from identity.settings import Settings
from identity.store import BIG, Database, UtcDateTime, Work, delete_some, dialect, execute
from identity.store.wal import WalIndex

LOCK = 0x6964656E74697479 >> 1  # "identity": the advisory lock that orders the writers
KEPT = timedelta(days=2)
"""Longer than any access token can live: whoever verifies offline must hear what ends it."""
PAGE = 1000

Row = tuple[int, str, str]
Listener = Callable[[str, str], None]


class Change(SQLModel, table=True):
    __tablename__ = "change"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    kind: str
    ref: str
    at: datetime = Field(sa_type=UtcDateTime, index=True)


_INSERT = "INSERT INTO change (kind, ref, at) VALUES (:kind, :ref, :at)"


def record(work: Work, kind: str, ref: str) -> None:
    """Note that `ref` changed; `kind` is `noun.verb`. Written when the transaction commits."""
    pending(work)[kind, ref] = None


def pending(work: Work) -> dict[tuple[str, str], None]:
    """What has been recorded so far, for hooks that come before `write_recorded`."""
    recorded: dict[tuple[str, str], None] = work.info.setdefault("changes", {})
    return recorded


def write_recorded(work: Work) -> None:
    """The `before_commit` hook: the lock, then the rows, then (by the caller) the commit."""
    recorded = work.info.pop("changes", None)
    if not recorded:
        return
    if dialect(work) == "postgresql":
        execute(work, "SELECT pg_advisory_xact_lock(:lock)", {"lock": LOCK})
    at = utcnow()
    execute(work, _INSERT, [{"kind": kind, "ref": ref, "at": at} for kind, ref in recorded])


def prune(session: Session) -> int:
    """Drop `SOME` rows older than `KEPT`, never the newest: a feed left behind notices the gap.
    How many that were, here and in all that is called so."""
    newest = select(func.max(Change.id)).scalar_subquery()
    return delete_some(session, Change, col(Change.at) < utcnow() - KEPT, col(Change.id) < newest)


class _Source(Protocol):
    async def newest(self) -> int: ...
    async def since(self, position: int) -> list[Row]: ...
    async def close(self) -> None: ...


class ChangeFeed:
    """One a process. Listeners hear `(verb, ref)` of their noun; `("reset", "*")` means that
    history was lost and all that was remembered must be forgotten."""

    def __init__(self, db: Database, settings: Settings) -> None:
        url = settings.database.database_url.get_secret_value()
        self._sqlite = _SqliteSource(db) if db.dialect == "sqlite" else None
        self._source: _Source = self._sqlite or _PostgresSource(url)
        self._listeners: dict[str, list[Listener]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self.position = -1
        self.lag = 0.0
        """Seconds that the last look took."""

    def listen(self, noun: str, listener: Listener) -> None:
        self._listeners.setdefault(noun, []).append(listener)

    async def catch_up(self) -> None:
        """Return once memory reflects every commit that ended before this call.

        Raises `Unavailable` when the database cannot be asked.
        """
        if self._sqlite is not None:
            if not self._sqlite.unchanged(self.position):
                await self._look()
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if self._asking is None:
            self._asking = asyncio.create_task(self._serve_waiting())
        await waiter

    async def close(self) -> None:
        if self._asking is not None:
            await asyncio.wait([self._asking])
        await self._source.close()

    async def _serve_waiting(self) -> None:
        """Ask on behalf of all who wait; never with a query sent before they came."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                error: Exception | None = None
                try:
                    await self._look()
                except Exception as caught:
                    error = caught
                for waiter in waiting:
                    if waiter.done():  # cancelled
                        continue
                    if error is None:
                        waiter.set_result(None)
                    elif isinstance(error, Unavailable):
                        waiter.set_exception(Unavailable(error.retry_after, audit=error.audit))
                    else:  # a defect; nobody may wait for ever because of it
                        waiter.set_exception(RuntimeError(f"change feed: {error!r}"))
        finally:
            self._asking = None

    async def _look(self) -> None:
        began = time.perf_counter()
        if self.position < 0:
            # From here on nothing is missed; what was remembered before is not to be trusted.
            self.position = await self._source.newest()
            self._reset()
            return
        rows = await self._source.since(self.position)
        while len(rows) != 1 or rows[0][0] != self.position:
            if not rows or rows[0][0] != self.position:
                # The row seen last is gone: history was pruned or another database restored.
                self.position = await self._source.newest()
                self._reset()
                break
            for position, kind, ref in rows[1:]:
                self.position = position
                self._tell(kind, ref)
            rows = await self._source.since(self.position)
        self.lag = time.perf_counter() - began

    def _tell(self, kind: str, ref: str) -> None:
        noun, _, verb = kind.partition(".")
        for listener in self._listeners.get(noun, ()):
            listener(verb, ref)

    def _reset(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener("reset", "*")


_SINCE = f"SELECT id, kind, ref FROM change WHERE id >= ? ORDER BY id LIMIT {PAGE}"  # noqa: S608


class _SqliteSource:
    """A connection of its own, read in the event loop: sooner done than handed over. While nobody
    has committed anything at all, it is not asked either."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._path = str(db.engine.url.database)
        self._connection: sqlite3.Connection | None = None
        self._index: WalIndex | None = None
        self._quiet = b""
        """The header at which the newest row was the one at `_newest`."""
        self._newest = -1

    def unchanged(self, position: int) -> bool:
        """Whether the row at `position` is still the newest: the usual answer, at least cost."""
        if self._connection is None:
            return False
        assert self._db.files is not None
        self._db.files.check()
        header = self._index.header() if self._index is not None else b""
        if header and header == self._quiet and position == self._newest:
            return True
        rows = self._execute(_SINCE, position)
        unchanged = len(rows) == 1 and rows[0][0] == position
        if unchanged:
            self._quiet, self._newest = header, position
        return unchanged

    def _execute(self, query: str, *values: int) -> list[Any]:
        try:
            if self._connection is None:
                connection = sqlite3.connect(
                    f"file:{self._path}?mode=rw", uri=True, isolation_level=None,
                    check_same_thread=False,
                )  # fmt: skip
                rows = connection.execute(query, values).fetchall()
                self._connection, self._quiet = connection, b""
                self._index = self._db.wal_index()
                assert self._db.files is not None
                self._db.files.log_opened(connection)
                self._db.files.check()
                return rows
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._forget()
            raise Unavailable(audit=f"change feed: {error}") from error

    async def newest(self) -> int:
        return int(self._execute("SELECT coalesce(max(id), 0) FROM change")[0][0])

    async def since(self, position: int) -> list[Row]:
        return self._execute(_SINCE, position)

    def _forget(self) -> None:
        assert self._db.files is not None
        self._db.files.log_closed()
        self._connection = None

    async def close(self) -> None:
        self._index = None  # the database closes it
        if self._connection is not None:
            connection = self._connection
            self._forget()
            connection.close()


class _PostgresSource:
    """One dedicated connection in autocommit mode, so that each query sees the newest commits."""

    def __init__(self, url: str) -> None:
        import psycopg  # nine megabytes that a service on SQLite does without

        self._psycopg = psycopg
        self._url = url
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def _execute(self, query: str, *values: int) -> list[Any]:
        for attempt in (1, 2):
            try:
                if self._connection is None:
                    self._connection = await self._psycopg.AsyncConnection.connect(
                        self._url, autocommit=True, connect_timeout=3, prepare_threshold=1,
                        application_name="identity change feed",
                    )  # fmt: skip
                async with asyncio.timeout(3):
                    cursor = await self._connection.execute(query, values)
                    return await cursor.fetchall()
            except (self._psycopg.Error, OSError, TimeoutError) as error:
                fresh = self._connection is None
                await self.close()
                if attempt == 2 or fresh:
                    raise Unavailable(audit=f"change feed: {error}") from error
        raise AssertionError("unreachable")

    async def newest(self) -> int:
        return int((await self._execute("SELECT coalesce(max(id), 0) FROM change"))[0][0])

    async def since(self, position: int) -> list[Row]:
        return await self._execute(
            f"SELECT id, kind, ref FROM change WHERE id >= %s ORDER BY id LIMIT {PAGE}",  # noqa: S608
            position,
        )

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except (self._psycopg.Error, OSError, TimeoutError):
                pass
