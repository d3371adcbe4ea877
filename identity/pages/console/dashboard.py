"""`/console`: how the service is, at a glance. A script asks for the numbers again (`?part=live`);
without it they are as of when the page was asked for."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.http.messages import Response, json_response
from identity.pages.console import naming
from identity.pages.console.desk import ALONE, Desk, Query, Seat
from identity.pages.console.findings import shown
from identity.pages.console.screens import SCREENS
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.records.audit import AuditEvent
from identity.records.audit.reading import matching
from identity.service.counting import Hour, by_hour
from identity.service.warnings import warnings
from identity.store.paging import listed
from identity.tokens.sessions.table import LoginSession

HOURS = 24
MOST = 10_000
"""Sessions are counted so far and no further: the overview is asked for every few seconds."""
HEIGHT, STEP, GAP = 120, 24, 6
"""Of the chart, in its own units: how high, how wide an hour is, and the space between two."""


LEADS: Final = {
    "mails": ("/mails", {"state": "given_up"}),
    "blocks": ("/blocks", {}),
    "logouts": ("/clients", {}),
    "signing key": ("/keys", {}),
    "users": ("/users", {"role": "admin"}),
    "audit": ("/audit", {}),
}
"""Where what a warning is about can be looked at."""


class Bar(NamedTuple):
    """Logins of an hour, and those refused on top of them."""

    x: int
    good: int
    bad: int
    hour: Hour


class Dashboard(Desk):
    screen = own("dashboard")

    async def show(self, seat: Seat, query: Query) -> Response:
        sees = seat.may("audit:read")
        if query.get("part") == "live":
            return await self._live(sees)

        def unit(session: Session) -> dict[str, Any]:
            found = _numbers(session)
            newest = matching().order_by(col(AuditEvent.id).desc()).limit(8)
            events = session.exec(newest).all()
            ids = [each.actor for each in events] + [each.subject for each in events]
            called = naming.clients(session, ids) | naming.users(session, ids)
            told = warnings(session, self.services.settings)
            return {**found, "events": events, "called": called, "warnings": told}

        found = await listed(self.services.db, unit) if sees else {}
        found["warnings"] = [shown(each) for each in found.get("warnings", ())]
        hours = found.get("hours", [])
        return self.page(
            seat, "dashboard", title=_("Overview"), sees=sees, bars=drawn(hours), height=HEIGHT,
            width=HOURS * STEP, bar=STEP - GAP, top=_top(hours), now=utcnow(), leads=_leads(seat),
            **found,
        )  # fmt: skip

    async def _live(self, sees: bool) -> Response:
        if not sees:
            return json_response({}, headers=[ALONE])
        found = await listed(self.services.db, _numbers)
        bars = [{"good": each.good, "bad": each.bad} for each in drawn(found["hours"])]
        numbers = {name: found[name] for name in ("logins", "failures", "tokens", "sessions")}
        now = f"{utcnow():%H:%M:%S}"
        return json_response({**numbers, "bars": bars, "as_of": now}, headers=[ALONE])


def _leads(seat: Seat) -> dict[str, str]:
    """To screens that this administrator may see."""
    needs = {each.path.removeprefix("/console"): each.needs for each in SCREENS}
    return {
        what: seat.at(path, **query)
        for what, (path, query) in LEADS.items()
        if seat.scopes.intersection(needs[path])
    }


def _numbers(session: Session) -> dict[str, Any]:
    hours = by_hour(session, HOURS)
    living = (
        select(LoginSession.id)
        .where(col(LoginSession.ended_at).is_(None), LoginSession.expires_at > utcnow())
        .limit(MOST)
    )
    count = len(session.exec(living).all())
    return {
        "hours": hours,
        "logins": sum(each.logins for each in hours),
        "failures": sum(each.failures for each in hours),
        "tokens": sum(each.tokens for each in hours),
        "sessions": f"{MOST}+" if count >= MOST else count,
    }


def _top(hours: Sequence[Hour]) -> int:
    return max([each.logins + each.failures for each in hours], default=0)


def drawn(hours: Sequence[Hour]) -> list[Bar]:
    """Bars whose highest fills the chart."""
    unit = (HEIGHT - 4) / max(_top(hours), 1)
    return [
        Bar(at * STEP + GAP // 2, round(each.logins * unit), round(each.failures * unit), each)
        for at, each in enumerate(hours)
    ]


async def page(house: House) -> Dashboard:
    return Dashboard(house, await house.rendering())
