"""Which events a list shows: the filters of `GET /audit` and of `identity audit list`."""

from datetime import datetime
from typing import Any

from sqlmodel import col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.records.audit.events import Outcome
from identity.records.audit.table import AuditEvent


def matching(
    *,
    actor: str | None = None,
    subject: str | None = None,
    event: str | None = None,
    outcome: Outcome | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    words: str | None = None,
) -> SelectOfScalar[AuditEvent]:
    """`event`: its name, or `user.*` for all that begin so. `since` is included, `until` not.
    `words`: how an event's name begins, or whoever did it, or to whom it was done."""
    filters: list[Any] = []
    if actor is not None:
        filters.append(AuditEvent.actor == actor)
    if subject is not None:
        filters.append(AuditEvent.subject == subject)
    if event is not None:
        filters.append(_named(event))
    if outcome is not None:
        filters.append(AuditEvent.outcome == outcome)
    if since is not None:
        filters.append(AuditEvent.at >= since)
    if until is not None:
        filters.append(AuditEvent.at < until)
    if words is not None:
        filters.append(
            or_(
                _named(f"{words}*"),
                AuditEvent.actor == words,
                AuditEvent.subject == words,
            )
        )
    return select(AuditEvent).where(*filters)


def _named(event: str) -> Any:
    if event.endswith("*"):
        return col(AuditEvent.event).startswith(event[:-1], autoescape=True)
    return AuditEvent.event == event
