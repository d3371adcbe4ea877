"""One look at the change feed for all who follow it.

While anybody listens, this process asks the feed twenty times a second, formats what is new once,
and hands the same bytes to everyone. It remembers every entry that matters still, so whoever
comes or comes back is answered without a query.

Rows are told as the feed hands them over, never looked for by their ids: what is committed late has
a lower one. A position (`store.positions`) travels as a number: whoever has heard all up to there
may go on from there at any process. The events of one look carry the position before it, and the
one after it follows them: whoever is cut off among them has missed nothing.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from contextvars import Context
from operator import attrgetter

import structlog

from identity.clock import now
from identity.errors import IdentityError, Unavailable
from identity.oauth.revocation_feed import entries
from identity.oauth.revocation_feed.entries import KINDS, PAGE, Entry
from identity.oauth.revocation_feed.listening import Listener
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.store.positions import Position, Row, Travelled

BEAT = 1.0  # seconds between heartbeats
LOOK_EVERY = 0.05  # seconds, unless somebody else of this process hears of something
PAUSE = 0.02  # seconds between two looks at the least: what comes at once is told at once
LINGER = 30.0  # seconds that this goes on after the last listener: those who poll come back
CHUNK = 1000  # entries that one event of a snapshot carries
ABREAST = 64  # listeners that are told in one turn of the event loop
NOUNS = ("token", "session", "user", "client", "key")

_log = structlog.get_logger()


class Broadcaster:
    """`position`: all up to there has been told; `wire` is the same as a number. `asked`: Unix time
    at which the feed had nothing newer. `failing`: why it cannot be asked now. `lost`: how often
    history was lost."""

    def __init__(self, db: Database, feed: ChangeFeed, settings: Settings) -> None:
        self._db = db
        self._feed = feed
        self._settings = settings
        self._live: list[Entry] = []  # by `order`
        self._heard: list[Row] = []
        self._snapshot: tuple[int, list[bytes]] | None = None
        self._listeners: dict[Listener, None] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._looking = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._wanted_at = 0.0
        self.lost = 1
        self._read = 0  # the `lost` at which history was read again
        self._began = -1.0
        self._stopped = False
        self.position: Position | None = None
        self.wire = 0
        self.asked = 0.0
        self.failing: Unavailable | None = None
        for noun in NOUNS:
            feed.listen(noun, self._hear)
        feed.listen("client", self._client_changed)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def remembered(self) -> int:
        return len(self._live)

    # --- For those who follow ---------------------------------------------------------------

    async def look(self) -> None:
        """Return once all that was committed before this call has been told. `Unavailable`."""
        if self._stopped:
            raise Unavailable(1, "the service is restarting")
        self._wanted_at = time.monotonic()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), context=Context())
        await self._look()

    async def known(self, number: int) -> Travelled | None:
        """The position `number`, if one can go on from there: it is of this history, and has not
        been pruned."""
        position = Travelled.read(number)
        if position is None or self.position is None or position.history != self.position.history:
            return None
        lost = self.lost
        if number == self.wire or await entries.known(self._db, position):
            return position if lost == self.lost else None
        return None

    def follow(self, client: str, after: int | None, *, reset: bool) -> Listener:
        """From `after` on, which is `known`, or from nothing. The caller has looked, and awaits
        nothing between."""
        position = None if after is None else Travelled.read(after)
        if after is None or position is None:
            pieces = self._whole()
            if reset:
                pieces = [b"event: reset\ndata: {}\n\n", *pieces]
        else:
            pieces = [b"".join(entry.event(after) for entry in self.after(position))]
        listener = Listener(client, [*pieces, b"event: live\nid: %d\ndata: {}\n\n" % self.wire])
        self._listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def after(self, position: Travelled | None) -> list[Entry]:
        """The entries since `position` that matter still; some that were told before it may be
        among them, if transactions were under way."""
        if position is None:
            return self._live
        if position.floor == position.xid:
            return self._live[bisect_right(self._live, position.xid, key=attrgetter("xid")) :]
        start = bisect_left(self._live, position.floor, key=attrgetter("xid"))
        return [entry for entry in self._live[start:] if entry.xid != position.xid]

    async def wait(self, seconds: float) -> None:
        """Until there is something new, or for `seconds`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiter
        finally:
            self._waiters.discard(waiter)

    def stop_with(self, stopping: asyncio.Event | None) -> None:
        """End all streams once `stopping` is set: the service stops."""
        if stopping is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_when(stopping))

    async def close(self) -> None:
        self._stop()
        for task in (self._running, self._stopping):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    # --- The one look -----------------------------------------------------------------------

    def _hear(self, verb: str, ref: str) -> None:
        row = self._feed.telling
        if row is None:
            self.lost += 1
            self._heard.clear()
        elif self._running is not None and row.kind in KINDS:
            self._heard.append(row)
        self._stirred.set()

    def _client_changed(self, verb: str, ref: str) -> None:
        for listener in [*self._listeners]:
            if listener.client == ref:
                listener.close()  # it comes back, and must show again that it may

    async def _run(self) -> None:
        beaten = 0.0
        try:
            while self._listeners or time.monotonic() - self._wanted_at < LINGER:
                began = time.monotonic()
                try:
                    await self._look()
                except IdentityError as error:
                    if self.failing is None:
                        _log.warning("revocations cannot be told", reason=error.audit)
                    self.failing = Unavailable(audit=error.audit)
                    self._release()
                else:
                    if began - beaten >= BEAT - LOOK_EVERY / 2:
                        beaten = began
                        await self._tell(self._beat())
                await asyncio.sleep(max(PAUSE, 2 * (time.monotonic() - began)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY - PAUSE):
                        await self._stirred.wait()
                self._stirred.clear()
        except Exception:
            _log.exception("revocations are no longer told")
        finally:
            self._running = None
            self._live, self._snapshot, self._read = [], None, self.lost - 1
            self._heard.clear()
            for listener in [*self._listeners]:
                listener.close()

    async def _look(self) -> None:
        async with self._looking:
            asked = now()
            await self._feed.catch_up()
            if self._read != self.lost:
                await self._start_over(asked)
            else:
                await self._go_on(asked)
            self.asked, self.failing = asked, None

    async def _start_over(self, asked: float) -> None:
        """What the snapshot has beyond the position will be heard once more."""
        lost, position = self.lost, self._feed.position
        self._heard.clear()
        before = self.wire
        kept = await entries.lifetime(self._db, self._settings)
        self._live = await entries.snapshot(self._db, kept)
        self._snapshot, self.asked = None, asked
        self._move(position)
        since = await self.known(before)
        self._read = lost
        if since is not None:  # it was but the connection: go on, as those do who come back
            events = b"".join(entry.event(before) for entry in self.after(since))
            await self._tell(events + self._beat())
            return
        live = b"event: live\nid: %d\ndata: {}\n\n" % self.wire
        await self._tell(b"".join((b"event: reset\ndata: {}\n\n", *self._whole(), live)))

    async def _go_on(self, asked: float) -> None:
        position, rows = self._feed.position, self._heard
        if not rows:
            self._move(position)
            return
        self._heard = []
        try:
            kept = await entries.lifetime(self._db, self._settings)
            fresh = await entries.of_rows(self._db, kept, rows)
        except BaseException:
            self._heard[:0] = rows
            raise
        if self._read != self.lost:
            return  # history was lost meanwhile: the next look starts over
        moment, before = now(), self.wire
        if len(self._live) > 2 * PAGE or (self._live and self._live[0].exp < moment):
            self._live = [entry for entry in self._live if entry.exp >= moment]
        for entry in fresh:
            self._remember(entry)
        self._snapshot, self.asked = None, asked
        self._move(position)
        await self._tell(b"".join(entry.event(before) for entry in fresh) + self._beat())

    def _remember(self, entry: Entry) -> None:
        at = bisect_left(self._live, entry.order, key=attrgetter("order"))
        if at == len(self._live) or self._live[at].order != entry.order:
            self._live.insert(at, entry)

    def _move(self, position: Position | None) -> None:
        if position is not None and position != self.position:
            self.position, self.wire = position, position.wire

    def _beat(self) -> bytes:
        return b'event: heartbeat\nid: %d\ndata: {"now":%.3f}\n\n' % (self.wire, self.asked)

    async def _tell(self, piece: bytes) -> None:
        self._release()
        for told, listener in enumerate([*self._listeners], 1):
            listener.tell(piece)
            if told % ABREAST == 0:
                await asyncio.sleep(0)  # others want to be served too

    def _release(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _whole(self) -> list[bytes]:
        """All entries as snapshot events. Only the last has an id: who lost the line before it
        has nothing yet to go on from."""
        moment = now()
        if self._snapshot is None or self._snapshot[0] != self.wire:
            live = [entry.body for entry in self._live if entry.exp >= moment]
            chunks = [live[n : n + CHUNK] for n in range(0, len(live), CHUNK)] or [[]]
            events = [
                b'event: snapshot\ndata: {"entries":[%b]}\n\n' % b",".join(chunk)
                for chunk in chunks
            ]
            events[-1] = b"id: %d\n" % self.wire + events[-1]
            self._snapshot = (self.wire, events)
        return self._snapshot[1]

    async def _stop_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._stop()

    def _stop(self) -> None:
        self._stopped = True
        self._release()
        for listener in [*self._listeners]:
            listener.close()
