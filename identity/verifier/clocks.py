"""Time as a verifier sees it, replaceable as a whole in tests."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """`now` is Unix time in seconds; `monotonic` counts seconds, never jumps, and goes on while
    the machine sleeps; `sleep` waits by `monotonic`."""

    @property
    def now(self) -> Callable[[], float]: ...

    @property
    def monotonic(self) -> Callable[[], float]: ...

    async def sleep(self, seconds: float) -> None: ...


def _monotonic() -> Callable[[], float]:
    # Linux's CLOCK_MONOTONIC stands while a machine or its guest is suspended: knowledge that
    # has slept an hour must not call itself a second old.
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return time.monotonic
    return functools.partial(time.clock_gettime, boottime)


class SystemClock:
    """The machine's own."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.time
        self.monotonic: Callable[[], float] = _monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
