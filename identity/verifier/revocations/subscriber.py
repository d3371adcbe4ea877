"""Subscribes a `Feed` to `GET /revocations`: by stream, by long poll, and back, whatever breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final, Literal

from identity.verifier.issuer.fetching import MAX_LIST_BYTES, FetchFailed
from identity.verifier.issuer.issuer import Issuer
from identity.verifier.revocations.denylist import Entry
from identity.verifier.revocations.feed import Feed
from identity.verifier.revocations.sse import Event, Parser
from identity.verifier.revocations.uptake import Uptake

_log = logging.getLogger("identity.verifier")

SILENCE: Final = 3.0
"""Seconds without a heartbeat after which a connection counts as dead."""
_POLLED_FOR: Final = 60.0
"""Seconds of polling before the stream is tried again."""
_FIRST_RETRY, _LAST_RETRY = 0.1, 5.0
_HURRY: Final = 0.5
"""Seconds between attempts that waiting requests can bring about."""
_LONGEST_WAIT: Final = 25.0
_TELL_AGAIN: Final = 10.0


class Subscriber:
    """`mode` is what was asked for, `using` how it is going at the moment."""

    def __init__(
        self,
        issuer: Issuer,
        feed: Feed,
        mode: Literal["stream", "poll"] = "stream",
        kids: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._uptake = Uptake(kids)
        self._keys_came = asyncio.Event()
        self._issuer = issuer
        self._clock = issuer.clock
        self._feed = feed
        self._mode = mode
        self._said: str | None = None
        self._live = False
        self._tried_at = float("-inf")
        self._hurried = asyncio.Event()
        self.using: Literal["stream", "poll"] = mode
        self.on_live: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """For ever. Failures are logged when they begin and show as the feed's staleness."""
        retry = _FIRST_RETRY
        while True:
            self._live = False
            try:
                if self._mode == "stream":
                    await self._stream_or_poll()
                else:
                    await self._poll()
            except FetchFailed as problem:
                if not self._live:  # else it worked, and a new connection will do
                    self._complain(str(problem))
                after = problem.retry_after
            except ValueError as problem:  # what came is not the feed: begin anew
                self._complain(f"the revocation feed cannot be read: {problem}")
                self._feed.position = None
                after = None
            else:
                after = None
            self._feed.tried()
            if self._live:
                retry = _FIRST_RETRY
            # Jitter: a thousand siblings lose the same server in the same moment.
            wait = random.uniform(0, retry) if after is None else min(after, 30.0)  # noqa: S311
            retry = min(retry * 2, _LAST_RETRY)
            await self._pause(wait)

    def hurry(self) -> None:
        """Somebody waits for what we know: try again now, unless that was just tried."""
        if self._clock.monotonic() - self._tried_at >= _HURRY:
            self._hurried.set()

    def keys_changed(self) -> None:
        """There is another key set, which the issuer wants to know of."""
        self._keys_came.set()

    async def _pause(self, seconds: float) -> None:
        self._tried_at = self._clock.monotonic()
        self._hurried.clear()
        waits = {
            asyncio.create_task(self._clock.sleep(seconds)),
            asyncio.create_task(self._hurried.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _complain(self, words: str) -> None:
        level = logging.DEBUG if words == self._said else logging.WARNING
        _log.log(level, "revocations are not known for now: %s", words)
        self._said = words

    def _went_live(self) -> None:
        self._live = True
        self.on_live()
        if self._said is not None:
            _log.warning("revocations are known again")
            self._said = None

    async def _address(self) -> tuple[str, dict[str, str]]:
        address = await self._issuer.endpoint("revocations_endpoint")
        if address is None:
            self._issuer.forget()
            raise FetchFailed("the issuer's metadata have no revocations_endpoint")
        try:
            return address, await self._issuer.credentials.headers()
        except Exception as problem:  # whatever the token supplier raises
            raise FetchFailed(f"no credentials: {problem!r}") from problem

    # --- Stream --------------------------------------------------------------------------------

    async def _stream_or_poll(self) -> None:
        self.using = "stream"
        try:
            await self._stream()
        except FetchFailed:
            if self._live:
                raise  # it works, and was cut
            # Does the issuer answer, and only streams do not come through?
            self._feed.connected()
            await self._poll_once(wait=0)
            self.using = "poll"
            self._went_live()
            until = self._clock.monotonic() + _POLLED_FOR
            while self._clock.monotonic() < until:
                await self._poll_once()

    async def _stream(self) -> None:
        address, headers = await self._address()
        # Compression would hold events back until a block of them is full.
        headers |= {"accept": "text/event-stream", "accept-encoding": "identity"}
        says = self._uptake.now
        headers |= self._uptake.headers()
        if self._feed.position is not None:
            headers["last-event-id"] = str(self._feed.position)
        asked_at = self._clock.monotonic()
        async with self._issuer.fetcher.stream(address, headers) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "text/event-stream":
                raise FetchFailed(f"the feed comes as {kind or 'nothing'}, not as a stream")
            self._feed.connected()
            self._uptake.said = says
            self._heard = self._clock.monotonic()
            reading = asyncio.create_task(self._read(response.aiter_bytes(), asked_at))
            watching = asyncio.create_task(self._watch())
            telling = asyncio.create_task(self._tell())
            try:
                await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise FetchFailed(f"no heartbeat for {SILENCE:g} s")
                await reading
            finally:
                for task in (reading, watching, telling):
                    task.cancel()
                await asyncio.gather(reading, watching, telling, return_exceptions=True)

    async def _watch(self) -> None:
        while (left := self._heard + SILENCE - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    async def _tell(self) -> None:
        """Where keys come while the stream goes on: say so by a poll beside it."""
        while True:
            if self._uptake.now in (None, self._uptake.said):
                await self._keys_came.wait()
                self._keys_came.clear()
            elif self._feed.position is None:
                await self._clock.sleep(_TELL_AGAIN)
            else:
                try:
                    await self._say()
                except FetchFailed:  # the stream's own matter, if it fails as well
                    await self._clock.sleep(_TELL_AGAIN)

    async def _say(self) -> None:
        address, headers = await self._address()
        says = self._uptake.now
        await self._issuer.fetcher.fetch(
            "GET",
            address,
            headers=headers | self._uptake.headers() | {"accept": "application/json"},
            params={"after": str(self._feed.position)},
            limit=MAX_LIST_BYTES,
        )
        self._uptake.said = says

    async def _read(self, octets: AsyncIterator[bytes], asked_at: float) -> None:
        parser = Parser()
        async for piece in octets:
            for event in parser.feed(piece):
                self._take(event, asked_at)
        raise FetchFailed("the stream has ended")

    def _take(self, event: Event, asked_at: float) -> None:
        feed = self._feed
        if event.name == "revoked":
            feed.apply(Entry.read(_object(event.data)))
            # Within a snapshot nothing is complete, and there is no place to go on from.
            if self._live:
                feed.advance(_position(event.id))
        elif event.name == "heartbeat":
            if not self._live:
                return
            if not feed.heartbeat(_time(_object(event.data).get("now"))):
                raise FetchFailed("heartbeats come late")
            if event.id is not None:
                feed.advance(_position(event.id))
            self._heard = self._clock.monotonic()
        elif event.name == "reset":
            feed.reset()
            self._live = False
            self._heard = self._clock.monotonic()
        elif event.name == "snapshot":
            feed.snapshot(_entries(_object(event.data)))
            self._heard = self._clock.monotonic()
        elif event.name == "live":
            feed.live(_position(event.id), asked_at)
            self._heard = self._clock.monotonic()
            self._went_live()

    # --- Long poll -----------------------------------------------------------------------------

    async def _poll(self) -> None:
        self.using = "poll"
        self._feed.connected()
        while True:
            await self._poll_once()
            self._went_live()

    async def _poll_once(self, wait: float | None = None) -> None:
        address, headers = await self._address()
        if wait is None:
            # Each answer proves what was so when it was asked for: two must lie within the bound.
            wait = max(0.0, min(_LONGEST_WAIT, self._feed.max_staleness / 4))
        position = self._feed.position
        params = {} if position is None else {"after": str(position), "wait": f"{wait:.2f}"}
        asked_at = self._clock.monotonic()
        answer = await self._issuer.fetcher.fetch(
            "GET",
            address,
            headers=headers | self._uptake.headers() | {"accept": "application/json"},
            params=params,
            limit=MAX_LIST_BYTES,
            within=self._issuer.fetcher.timeout + wait,
        )
        document = _object(answer.body)
        entries = _entries(document)
        if document.get("reset") or position is None:
            self._feed.reset()
            self._feed.snapshot(entries)
        for entry in entries:
            self._feed.apply(entry)
        after = document.get("position")
        if type(after) is not int:
            raise ValueError("position is not a number")
        self._feed.live(after, asked_at)
        self._feed.denylist.prune(self._clock.now())
        if position is not None and wait < 0.1:  # no long poll: do not go round in a frenzy
            await self._clock.sleep(0.1)


def _object(text: str | bytes) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def _entries(document: dict[str, Any]) -> list[Entry]:
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise ValueError("entries are not a list")
    return [Entry.read(entry) for entry in entries]


def _position(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        raise ValueError("an event has no numeric id")
    return int(text)


def _time(value: object) -> float:
    if type(value) not in (int, float):
        raise ValueError("a heartbeat has no time")
    return float(value)  # type: ignore[arg-type]
