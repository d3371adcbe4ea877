"""A clock that stands still until it is told to go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Lock


class MovableClock:
    """Starts at the real time. `tick(60)` lets a minute pass at once, for everybody who reads it
    or sleeps by it, in whichever thread."""

    def __init__(self, start: float | None = None) -> None:
        self._start = time.time() if start is None else start
        self._passed = 0.0
        self.skew = 0.0
        """Seconds by which `now` is off; `monotonic` does not care."""
        self._lock = Lock()
        self._sleepers: list[tuple[float, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._start + self._passed + self.skew

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        sleeper = (self._passed + seconds, loop, woken)
        with self._lock:
            self._sleepers.append(sleeper)
        try:
            await woken
        finally:
            with self._lock:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)

    def tick(self, seconds: float = 1.0) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._passed += seconds
            due = [s for s in self._sleepers if s[0] <= self._passed]
            self._sleepers = [s for s in self._sleepers if s[0] > self._passed]
        for _, loop, woken in due:
            try:
                loop.call_soon_threadsafe(_wake, woken)
            except RuntimeError:  # its loop has been closed
                continue
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every tick."""
        self._listeners.append(listener)

    @property
    def sleepers(self) -> int:
        """How many wait for a tick."""
        return len(self._sleepers)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
