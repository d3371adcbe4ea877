"""The change feed: what any process has done since this one last looked.

Whoever ends, revokes or changes something that a process may remember writes a row here in the
same transaction. Whoever answers from memory first awaits `catch_up()`: when it returns, memory
reflects every commit that ended before the call. One indexed query answers it; SQLite is asked only
when somebody has committed (`store.wal`), and on PostgreSQL requests that arrive while a query is
under way share the next one, so its cost falls under load.

Order: ids are drawn in one order and become visible in another on PostgreSQL, where writers wait
for nobody. What "since" means there is `store.positions`' matter.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import ARRAY, Executable, String, bindparam, cast, func, insert
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.errors import Unavailable
from identity.settings import Settings
from identity.store import (
    Database,
    Statement,
    Work,
    delete_some,
    dialect,
    execute,
    insert_of,
    select_of,
    value_of,
)
from identity.store.deadlines import left_since
from identity.store.feed_postgresql import PostgresSource
from identity.store.feed_sqlite import SqliteSource
from identity.store.late import AGAIN, Written, over
from identity.store.positions import Position, Row, Tell
from identity.store.table import XID, Change

KEPT = timedelta(days=2)
"""Longer than any access token can live: whoever verifies offline must hear what ends it."""

Listener = Callable[[str, str], None]


def _insert_all() -> Executable:
    lists = (bindparam(name, type_=ARRAY(String)) for name in ("kinds", "refs"))
    given = func.unnest(*lists).table_valued("kind", "ref", with_ordinality="n", name="given")
    kind, ref, n = given.render_derived().c
    rows = select_of(kind, ref, value_of(Change.at, "at")).order_by(n)
    into: list[Any] = [Change.kind, Change.ref, Change.at]
    return insert(Change).from_select(into, rows).returning(cast(XID, String))


_INSERT = Statement(
    lambda: insert_of(Change, {Change.kind: "kind", Change.ref: "ref", Change.at: "at"}), "sqlite"
)
INSERT_ALL = Statement(_insert_all, "postgresql")
"""All at once, and in which transaction that was."""


def record(work: Work, kind: str, ref: str) -> None:
    """Note that `ref` changed; `kind` is `noun.verb`. Written when the transaction commits."""
    pending(work)[kind, ref] = None


def pending(work: Work) -> dict[tuple[str, str], None]:
    """What has been recorded so far, for hooks that come before `write_recorded`."""
    recorded: dict[tuple[str, str], None] = work.info.setdefault("changes", {})
    return recorded


def writing(db: Database) -> Callable[[Work], None]:
    """The `before_commit` hook: the rows, then (by the caller) the commit."""

    def write_recorded(work: Work) -> None:
        recorded = work.info.pop("changes", None)
        if not recorded:
            return
        db.turns.take(work)
        at, xid = utcnow(), None
        if db.dialect == "postgresql":
            kinds, refs = zip(*recorded, strict=True)
            values = {"kinds": [*kinds], "refs": [*refs], "at": at}
            ((xid,), *_) = execute(work, INSERT_ALL, values).fetchall()
        else:
            execute(work, _INSERT, [{"kind": kind, "ref": ref, "at": at} for kind, ref in recorded])
        db.late.note(work, Written(tuple(recorded), at, xid))

    return write_recorded


async def record_late(db: Database) -> None:
    """Record again what took long to commit, or got no answer and was committed after all."""
    waiting = list(db.late.waiting)

    def again(session: Session) -> list[Written]:
        session.info[AGAIN] = True
        became = {written: over(session, written) for written in waiting}
        for written, state in became.items():
            if state == "committed":
                for kind, ref in written.changes:
                    record(session, kind, ref)
        return [written for written, state in became.items() if state != "in progress"]

    if waiting:
        for written in await db.write(again):
            db.late.waiting.remove(written)


def prune(session: Session) -> int:
    """Drop `SOME` rows older than `KEPT`, never the newest: a feed left behind notices the gap.
    How many that were, here and in all that is called so."""
    newest: Any = select(func.max(Change.id)).scalar_subquery()
    if dialect(session) == "postgresql":
        by_xid = select(Change.id).order_by(XID.desc(), col(Change.id).desc())
        newest = by_xid.limit(1).scalar_subquery()
    return delete_some(session, Change, col(Change.at) < utcnow() - KEPT, col(Change.id) != newest)


class Source(Protocol):
    """Where changes are read."""

    async def begin(self) -> Position:
        """What is the newest position now. Raises `Unavailable`, as `follow`."""

    async def follow(self, position: Position, tell: Tell) -> Position | None:
        """Tell what came since, whole transactions in any order, and return where that ends. None
        where `position` is of another history, or of a connection that was lost."""

    async def close(self) -> None: ...

    @property
    def steady(self) -> bool: ...


class ChangeFeed:
    """One a process. Listeners hear `(verb, ref)` of their noun; `("reset", "*")` means that
    history was lost and all that was remembered must be forgotten."""

    def __init__(self, db: Database, settings: Settings) -> None:
        url = settings.database.database_url.get_secret_value()
        self._sqlite = SqliteSource(db) if db.dialect == "sqlite" else None
        self._turns = db.turns
        self._source: Source = self._sqlite or PostgresSource(url, db.histories)
        self._listeners: dict[str, list[Listener]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._came = 0.0
        """When the first of those came."""
        self._asking: asyncio.Task[None] | None = None
        self.on_reset: Callable[[str], None] = lambda cause: None
        """Hears why everything was forgotten: `start`, `connection` (it was lost) or `history`
        (failover, restore, or pruned beyond what was seen)."""
        self.position: Position | None = None
        self.telling: Row | None = None
        """The row that listeners hear of just now; None when they hear of a reset."""
        self.lag = 0.0
        """Seconds that the last look took."""

    def listen(self, noun: str, listener: Listener) -> None:
        self._listeners.setdefault(noun, []).append(listener)

    async def catch_up(self) -> None:
        """Return once memory reflects every commit that ended before this call.

        Raises `Unavailable` when the database cannot be asked.
        """
        if self._sqlite is not None:
            if self.position is None or not self._sqlite.unchanged(self.position):
                await self._look()
            return
        waiter = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._came = time.monotonic()
        self._waiting.append(waiter)
        if self._asking is None:
            # Of nobody's context: it serves many, and has a deadline of its own.
            self._asking = asyncio.create_task(self._serve_waiting(), context=Context())
        await waiter

    @property
    def steady(self) -> bool:
        """Whether what is read now belongs to the history that was last followed: only then may it
        be remembered."""
        return self._source.steady

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
                    async with asyncio.timeout(left_since(self._came)):
                        await self._look()
                except Exception as caught:
                    error = caught
                    # Those who came meanwhile would wait as long again.
                    waiting += self._waiting
                    self._waiting = []
                for waiter in waiting:
                    if waiter.done():  # cancelled
                        continue
                    if error is None:
                        waiter.set_result(None)
                    elif isinstance(error, TimeoutError):
                        waiter.set_exception(Unavailable(audit="change feed: no answer in time"))
                    elif isinstance(error, Unavailable):
                        waiter.set_exception(Unavailable(error.retry_after, audit=error.audit))
                    else:  # a defect; nobody may wait for ever because of it
                        waiter.set_exception(RuntimeError(f"change feed: {error!r}"))
        finally:
            self._asking = None

    async def _look(self) -> None:
        began = time.perf_counter()
        position = self.position
        if position is not None:
            position = await self._source.follow(position, self._tell_all)
        if position is None:
            # From here on nothing is missed; what was remembered before is not to be trusted.
            connected = self._source.steady
            position = await self._source.begin()
            self._reset()
            self.on_reset(self._cause(position, connected=connected))
        self.position = position
        self.lag = time.perf_counter() - began

    def _cause(self, position: Position, *, connected: bool) -> str:
        before = self.position
        if before is None:
            return "start"
        if before.history == position.history and not connected:
            return "connection"
        import structlog  # commands that only look have nothing to log

        structlog.get_logger().warning(
            "another history of the database: all that was remembered is forgotten",
            before=before.history,
            now=position.history,
        )
        return "history"

    def _tell_all(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.telling = row
            self._tell(row.kind, row.ref)
        self.telling = None

    def _tell(self, kind: str, ref: str) -> None:
        noun, _, verb = kind.partition(".")
        for listener in self._listeners.get(noun, ()):
            listener(verb, ref)

    def _reset(self) -> None:
        self._turns.ask_again()
        for listeners in self._listeners.values():
            for listener in listeners:
                listener("reset", "*")
