"""How long a request may wait for the database: one budget from its arrival, for everything.

A server that is frozen, or cut off, says nothing at all, and its kernel goes on acknowledging. So
whoever waits has an end of its own, at which its connection's socket is shut down.
"""

import time
from contextvars import ContextVar

BUDGET = 3.5
"""Seconds from a request's arrival; its refusal is out within four."""
LEAST = 0.25
"""Seconds that any one question gets, however late it is asked."""
RESUMED = 1.0
"""Seconds that are left at the least for whoever has waited long for something else (hashing)."""
CHORE = 30.0
"""Seconds that a question gets which no request waits for."""

_until: ContextVar[float | None] = ContextVar("deadline", default=None)


def arrived() -> None:
    """A request has come: from here on counts, in this context, what it waits."""
    _until.set(time.monotonic() + BUDGET)


def resumed() -> None:
    """What this request has waited for is over, and was not the database."""
    until = _until.get()
    if until is not None:
        _until.set(max(until, time.monotonic() + RESUMED))


def left_since(came: float) -> float:
    """Seconds that a question may take that is asked for several; the first of them `came` then."""
    return max(came + BUDGET - time.monotonic(), LEAST)


def left() -> float:
    """Seconds that a question may take now."""
    until = _until.get()
    return CHORE if until is None else max(until - time.monotonic(), LEAST)
