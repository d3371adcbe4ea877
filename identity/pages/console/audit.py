"""`/console/audit`: who did what, by names, filtered by what stands in the address."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

from identity.clock import utcnow
from identity.http.messages import Response
from identity.pages.console import lists, naming
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.records.audit import AuditEvent
from identity.records.audit.reading import matching
from identity.store.paging import listed

FILTERS = ("actor", "subject", "event", "outcome", "since", "until")
EVERY = 10
ANEW = (b"refresh", str(EVERY).encode())
"""Browsers ask for the page again after so many seconds, with scripts or without."""
FAMILIES = (
    "login", "user.*", "users.*", "client.*", "role.*", "scope.*", "key.*", "session*", "factor*",
    "consent.*", "token.*", "trusted_issuer.*", "access", "audit.*",
)  # fmt: skip


class Row(NamedTuple):
    event: AuditEvent
    actor: str
    subject: str
    details: list[tuple[str, str]]
    changes: list[tuple[str, str, str]]
    """(what, before, after)."""


class Audit(Desk):
    screen = own("audit")

    async def show(self, seat: Seat, query: Query) -> Response:
        window = lists.window(query, 25)  # their details are long

        def unit(session: Session) -> tuple[list[Row], str | None]:
            filters = filtered(session, query)
            events, cursor = window.take(
                session, filters, AuditEvent.id, newest_first=True, parse=event_id
            )
            ids = [each.actor for each in events] + [each.subject for each in events]
            called = naming.clients(session, [*ids, *(each.client_id for each in events)])
            called |= naming.users(session, ids)
            return [_row(each, called) for each in events], cursor

        rows, cursor = await listed(self.services.db, unit)
        path = self.screen.path
        kept = {name: query[name] for name in FILTERS if query.get(name)}
        live = bool(query.get("live")) and not query.get("after")  # what is new stands first
        return self.page(
            seat, "audit", headers=[ANEW] if live else [], live=live, now=utcnow(),
            follow=seat.at("/audit", **kept, live="1"), stop=seat.at("/audit", **kept),
            title=_("Audit"), rows=rows, families=FAMILIES,
            every=EVERY, chosen={name: query.get(name, "") for name in FILTERS},
            export=f"{seat.base}/console/audit-export?{urlencode(kept)}",
            following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip


def filtered(session: Session, query: Query) -> SelectOfScalar[AuditEvent]:
    """What the address asks for. People may be named; `ValidationFailed` for what is no date."""
    outcome = query.get("outcome")
    return matching(
        actor=naming.user_id(session, query.get("actor")),
        subject=naming.user_id(session, query.get("subject")),
        event=(query.get("event") or "")[:100] or None,
        outcome=outcome if outcome in ("success", "refused") else None,  # type: ignore[arg-type]
        since=lists.day(query, "since"),
        until=lists.day(query, "until", after=timedelta(days=1)),
    )


def event_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(text)
    return int(text)


def _row(event: AuditEvent, called: Mapping[str, str]) -> Row:
    detail = dict(event.detail or {})
    before, after = detail.get("before"), detail.get("after")
    changes: list[tuple[str, str, str]] = []
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        changes = [(name, _plain(before.get(name)), _plain(after.get(name))) for name in names]
    elif isinstance(before, list) and isinstance(after, list):
        gone = " ".join(str(each) for each in before if each not in after)
        new = " ".join(str(each) for each in after if each not in before)
        changes = [(event.event.partition("_")[0].partition(".")[2] or event.event, gone, new)]
    if changes:
        detail.pop("before"), detail.pop("after")
    return Row(
        event,
        called.get(event.actor or "", event.actor or ""),
        called.get(event.subject or "", event.subject or ""),
        [(name, _plain(value)) for name, value in detail.items()],
        changes,
    )


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)


async def page(house: House) -> Audit:
    return Audit(house, await house.rendering())
