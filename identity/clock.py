"""The one place that knows what time it is, so that tests can hold it still."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import time as _system_time

_read = _system_time


def now() -> float:
    """Seconds since the epoch (RFC 7519 NumericDate)."""
    return _read()


def utcnow() -> datetime:
    """The same instant as an aware UTC datetime."""
    return datetime.fromtimestamp(_read(), UTC)


class Frozen:
    """A clock that moves only when told to."""

    def __init__(self, at: float) -> None:
        self.at = at

    def tick(self, seconds: float | timedelta) -> None:
        self.at += seconds.total_seconds() if isinstance(seconds, timedelta) else seconds


@contextmanager
def frozen(at: datetime | None = None) -> Iterator[Frozen]:
    """Hold this process's clock still at `at` (now when omitted) until the block ends."""
    global _read
    before, hand = _read, Frozen(at.timestamp() if at else _system_time())
    _read = lambda: hand.at  # noqa: E731 - a named function would say no more
    try:
        yield hand
    finally:
        _read = before
