"""One look at the change feed for all who follow it.

While anybody listens, this process asks the feed twenty times a second, formats what is new once,
and hands the same bytes to everyone. It remembers every entry that matters still, so whoever
comes or comes back is answered without a query.

A position is the id of a row of the change feed: whoever has heard all up to there may go on from
there at any process.
"""

import asyncio
import time
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from operator import attrgetter

import structlog

from identity.clock import now
from identity.errors import IdentityError, Unavailable
from identity.oauth.revocation_feed import entries
from identity.oauth.revocation_feed.entries import PAGE, Entry
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed

BEAT = 1.0  # seconds between heartbeats
LOOK_EVERY = 0.05  # seconds, unless somebody else of this process hears of something
PAUSE = 0.02  # seconds between two looks at the least: what comes at once is told at once
LINGER = 30.0  # seconds that this goes on after the last listener: those who poll come back
CHUNK = 1000  # entries that one event of a snapshot carries
BACKLOG = 64  # pieces that may wait for a listener; one that is slower is cut off, and resumes
WRITE = 32 * 1024  # bytes that leave together
ABREAST = 64  # listeners that are told in one turn of the event loop
NOUNS = ("token", "session", "user", "client", "key")

_log = structlog.get_logger()


class Listener:
    """One who follows: the `Source` of a stream."""

    def __init__(self, client: str, pieces: list[bytes]) -> None:
        self.client = client
        self._pieces = deque(pieces)
        self._patience = len(pieces) + BACKLOG
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._task: asyncio.Task[object] | None = None

    def tell(self, piece: bytes) -> None:
        self._pieces.append(piece)
        if len(self._pieces) > self._patience:
            self.close()
            if self._task is not None:  # it waits for a reader who does not read
                self._task.cancel()
        self._wake()

    async def next(self) -> bytes | None:
        self._task = asyncio.current_task()
        while not self._pieces and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._closed:
            return None
        taken, size = [], 0
        while self._pieces and size < WRITE:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        self._closed = True
        self._pieces.clear()
        self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Broadcaster:
    """`position`: all up to there has been told. `asked`: Unix time at which the feed had nothing
    newer. `failing`: why it cannot be asked now."""

    def __init__(self, db: Database, feed: ChangeFeed, settings: Settings) -> None:
        self._db = db
        self._feed = feed
        self._settings = settings
        self._live: list[Entry] = []
        self._snapshot: tuple[int, list[bytes]] | None = None
        self._listeners: dict[Listener, None] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._looking = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._wanted_at = 0.0
        self._lost = 1  # how often history was lost, and how often it was read again
        self._read = 0
        self._began = -1.0
        self._stopped = False
        self.position = 0
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
            self._running = asyncio.create_task(self._run())
        await self._look()

    async def known(self, position: int) -> bool:
        """Whether one can go on from there: it is of this history, and has not been pruned."""
        if position >= self.position:
            return position == self.position
        return await entries.known(self._db, position)

    def follow(self, client: str, after: int | None, *, reset: bool) -> Listener:
        """From `after` on, or from nothing. The caller has looked, and awaits nothing between."""
        if after is None:
            pieces = self._whole()
            if reset:
                pieces = [b"event: reset\ndata: {}\n\n", *pieces]
        else:
            pieces = [b"".join(entry.event for entry in self.after(after))]
        listener = Listener(client, [*pieces, b"event: live\nid: %d\ndata: {}\n\n" % self.position])
        self._listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def after(self, position: int) -> list[Entry]:
        """The entries since `position` that matter still."""
        return self._live[bisect_right(self._live, position, key=attrgetter("id")) :]

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
        if verb == "reset":
            self._lost += 1
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
                        beat = b'event: heartbeat\nid: %d\ndata: {"now":%.3f}\n\n'
                        await self._tell(beat % (self.position, self.asked))
                await asyncio.sleep(max(PAUSE, 2 * (time.monotonic() - began)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY - PAUSE):
                        await self._stirred.wait()
                self._stirred.clear()
        except Exception:
            _log.exception("revocations are no longer told")
        finally:
            self._running = None
            self._live, self._snapshot, self._read = [], None, self._lost - 1
            for listener in [*self._listeners]:
                listener.close()

    async def _look(self) -> None:
        async with self._looking:
            asked = now()
            await self._feed.catch_up()
            if self._read != self._lost:
                await self._start_over()
            elif self._feed.position > self.position:
                await self._go_on()
            self.asked, self.failing = asked, None

    async def _start_over(self) -> None:
        lost, position = self._lost, self._feed.position
        first = await entries.first(self._db, await entries.lifetime(self._db, self._settings))
        self._live = await self._entries(first, position)
        self._snapshot, self.position, self._read = None, position, lost
        await self._tell(
            b"".join(
                (
                    b"event: reset\ndata: {}\n\n",
                    *self._whole(),
                    b"event: live\nid: %d\ndata: {}\n\n" % position,
                )
            )
        )

    async def _go_on(self) -> None:
        position = self._feed.position
        fresh = await self._entries(self.position, position)
        self.position = position
        if not fresh:
            return
        moment = now()
        if len(self._live) > 2 * PAGE or (self._live and self._live[0].exp < moment):
            self._live = [entry for entry in self._live if entry.exp >= moment]
        self._live += fresh
        self._snapshot = None
        await self._tell(b"".join(entry.event for entry in fresh))

    async def _entries(self, after: int, upto: int) -> list[Entry]:
        """Page by page: reading may happen in the event loop."""
        found: list[Entry] = []
        kept = await entries.lifetime(self._db, self._settings)
        while True:
            page = await entries.page(self._db, kept, found[-1].id if found else after, upto)
            found += page
            if len(page) < PAGE:
                return found
            await asyncio.sleep(0)

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
        if self._snapshot is None or self._snapshot[0] != self.position:
            live = [entry.body for entry in self._live if entry.exp >= moment]
            chunks = [live[n : n + CHUNK] for n in range(0, len(live), CHUNK)] or [[]]
            events = [
                b'event: snapshot\ndata: {"entries":[%b]}\n\n' % b",".join(chunk)
                for chunk in chunks
            ]
            events[-1] = b"id: %d\n" % self.position + events[-1]
            self._snapshot = (self.position, events)
        return self._snapshot[1]

    async def _stop_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._stop()

    def _stop(self) -> None:
        self._stopped = True
        self._release()
        for listener in [*self._listeners]:
            listener.close()
