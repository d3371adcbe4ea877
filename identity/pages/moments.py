"""Times as people read them: in their language, and in their time zone where they have said which.
Babel is imported when the first is shown."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from identity.clock import utcnow
from identity.pages.languages import locale, speech
from identity.pages.words import _, said


def date(at: datetime) -> str:
    """3 December 2026."""
    from babel.dates import format_date

    return format_date(at.astimezone(_zone()), "long", locale=locale())


def time(at: datetime) -> str:
    """14:05, with the zone where the reader has named none."""
    from babel.dates import format_time

    words = format_time(at.astimezone(_zone()), "short", locale=locale())
    return words if _zone() is not UTC else f"{words} UTC"


def moment(at: datetime) -> str:
    return f"{date(at)}, {time(at)}"


def ago(at: datetime) -> str:
    """How long ago, or in how long; to the minute."""
    from babel.dates import format_timedelta

    since = at - utcnow()
    if abs(since) < timedelta(minutes=1):
        return said(_("just now"))
    return format_timedelta(since, add_direction=True, locale=locale())


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "date": date,
    "time": time,
    "moment": moment,
    "ago": ago,
}


def _zone() -> tzinfo:
    name = speech.get().zone
    return _known(name) if name else UTC


@lru_cache(256)
def _known(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # not a zone, or this machine knows none
        return UTC
