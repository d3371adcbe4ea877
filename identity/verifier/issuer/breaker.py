"""A circuit breaker: who keeps failing is left alone for a while, and then asked once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

_FAILURES: Final = 5
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0


class Breaker:
    """Open after five failures in a row, for a second at first, for twice as long each time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._opens_at = float("-inf")
        self._probing = False

    @property
    def retry_after(self) -> float:
        """Seconds until asking makes sense again; 0 while the circuit is closed."""
        return max(0.0, self._opens_at - self._monotonic())

    def enter(self) -> bool:
        """Whether to ask now. Whoever is let in says `succeeded` or `failed` afterwards."""
        if self._failures < _FAILURES:
            return True
        if self._probing or self.retry_after > 0:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._probing = False

    def failed(self) -> None:
        self._failures += 1
        self._probing = False
        if self._failures >= _FAILURES:
            pause = self._pause * random.uniform(0.75, 1.25)  # noqa: S311
            self._opens_at = self._monotonic() + pause
            self._pause = min(self._pause * 2, _LAST_PAUSE)

    def abandoned(self) -> None:
        """Let in, but it was never asked."""
        self._probing = False
