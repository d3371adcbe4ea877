"""Lists whose state is in their address: a window of rows, and the address of the next."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from identity.errors import ValidationFailed
from identity.pages.console.desk import Query, Seat
from identity.pages.words import _
from identity.store.paging import Window, key_of

PAGE = 50


def window(query: Query, limit: int = PAGE) -> Window:
    """Raises `ValidationFailed` for a cursor that is none."""
    after = query.get("after")
    return Window(limit, key_of(after) if after else None)


def address(seat: Seat, path: str, query: Query, *, after: str | None = None) -> str:
    """The same list, from `after` on."""
    kept = {name: value for name, value in query.items() if name not in ("after", "done")}
    if after:
        kept["after"] = after
    return f"{seat.base}{path}" + (f"?{urlencode(kept)}" if kept else "")


def following(seat: Seat, path: str, query: Query, cursor: str | None) -> str:
    """The address of the next page; empty where there is none."""
    return address(seat, path, query, after=cursor) if cursor else ""


def first(seat: Seat, path: str, query: Query) -> str:
    """The address of the first page; empty where this is it."""
    return address(seat, path, query) if query.get("after") else ""


def searched(query: Query) -> str:
    return query.get("q", "").strip()[:200]


def day(query: Query, name: str, after: timedelta = timedelta(0)) -> datetime | None:
    """So long after a day, or a moment, that the address names. Raises `ValidationFailed`."""
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + after
    except (ValueError, OverflowError):
        wrong = [(f"?{name}", _("Must be a day such as 2026-11-24"))]
        raise ValidationFailed(wrong) from None


def here(seat: Seat, path: str, query: Query) -> str:
    """The same page of the list."""
    return address(seat, path, query, after=query.get("after"))
