"""The issuer's revocations as they come over `GET /revocations`, and how old that knowledge is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from identity.verifier.clocks import Clock
from identity.verifier.revocations.denylist import Denylist, Entry, Subject, Verdict
from identity.verifier.revocations.sources import Source

MAX_LATENESS: Final = 3.0
"""Seconds. A heartbeat that comes later than that says nothing any more."""


class Feed(Source):
    """What a subscriber tells it is in force at once; `position` is where to go on from.

    A snapshot replaces what was known only when it is whole (`live`): until then the old
    knowledge stays in force, and its age goes on counting.
    """

    def __init__(self, clock: Clock, max_staleness: float) -> None:
        super().__init__(clock)
        self.max_staleness = max_staleness
        self.position: int | None = None
        self.on_key: Callable[[], None] = lambda: None
        """Called when a signing key was revoked: there is another one by now."""
        self._proved_at = float("-inf")
        self._snapshot: Denylist | None = None
        self._least_delay = float("inf")
        self._tried = asyncio.Event()

    def judge(self, token: Subject, at: float) -> Verdict:
        verdict = self.denylist.judge(token)
        if verdict is Verdict.ALIVE and at - self._proved_at > self.max_staleness:
            return Verdict.STALE
        return verdict

    @property
    def staleness(self) -> float:
        return max(0.0, self.clock.monotonic() - self._proved_at)

    async def ready(self) -> None:
        await self._tried.wait()

    def tried(self) -> None:
        """The first try has ended, whatever came of it."""
        self._tried.set()

    # --- What the subscriber tells -----------------------------------------------------------

    def connected(self) -> None:
        """A new connection, perhaps to another replica with another clock."""
        self._snapshot = None
        self._least_delay = float("inf")

    def reset(self) -> None:
        """Forget everything as soon as the snapshot that follows is whole."""
        self._snapshot = Denylist()

    def snapshot(self, entries: Iterable[Entry]) -> None:
        """A part of the snapshot. What it has is in force before the rest of it has come."""
        if self._snapshot is None:
            self._snapshot = Denylist()
        for entry in entries:
            self._snapshot.add(entry)
            self.denylist.add(entry)

    def live(self, position: int, asked_at: float) -> None:
        """All up to `position` has been told, as of monotonic time `asked_at` at the least."""
        if self._snapshot is not None:
            self.denylist, self._snapshot = self._snapshot, None
        self.position = position
        self.proved(asked_at)

    def apply(self, entry: Entry) -> None:
        super().apply(entry)
        if self._snapshot is not None:
            self._snapshot.add(entry)
        if entry.kind == "key":
            self.on_key()

    def advance(self, position: int) -> None:
        if self.position is None or position > self.position:
            self.position = position

    def heartbeat(self, server_now: float) -> bool:
        """The issuer's time when it wrote this. False where it comes too late to say anything.

        The clocks need not agree: the quickest heartbeat of this connection shows how far they
        are apart, and what is above that was spent on the way.
        """
        at = self.clock.monotonic()
        delay = at - server_now
        self._least_delay = min(self._least_delay, delay)
        lateness = delay - self._least_delay
        self.denylist.prune(self.clock.now())
        self.proved(at - lateness)
        return lateness <= MAX_LATENESS

    def proved(self, at: float) -> None:
        if at > self._proved_at:
            self._proved_at = at
            self.tried()
