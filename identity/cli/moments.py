"""Times as people type them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

Moment = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="2026-11-24, 2026-11-24T08:00, or how long ago: 15m, 2d."),
]


def moment(text: str, option: str) -> datetime:
    """A date or time (UTC unless it says otherwise), or how long ago."""
    from identity.clock import utcnow

    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1] in units:
        try:
            return utcnow() - timedelta(**{units[text[-1]]: int(text[:-1])})
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} is a time such as 2026-11-24T08:00 or 2d") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
