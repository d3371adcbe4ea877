"""`/console/sessions`: everybody's, found by what stands in the address, and ended one or many."""

from datetime import datetime
from typing import Any

from sqlmodel import Session, col

from identity.authentication import all_sessions
from identity.authentication.all_sessions import COUNTED, TABLES, Filter, Kind
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.pages.account import browsers
from identity.pages.console import lists, naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Form
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import stopping
from identity.service.administration.users import BY_ADMIN
from identity.store.paging import listed

ROWS = 25
"""Of a page: each has a form of its own."""
FILTERS = ("user", "client", "address", "since", "until")
MOST_AT_ONCE = 200
"""That are named one by one, as at the API."""


class Sessions(Desk):
    screen = own("sessions")

    async def show(self, seat: Seat, query: Query) -> Response:
        window, kind = lists.window(query, ROWS), _kind(query)

        def unit(session: Session) -> tuple[Any, str | None, dict[str, str], dict[str, str]]:
            sessions = all_sessions.matching(_wanted(session, query))
            rows, cursor = window.take(session, sessions, TABLES[kind].id, newest_first=True)
            return rows, cursor, *_called(session, rows)

        rows, cursor, users, clients = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "sessions", title=_("Sessions"), rows=rows, kind=kind, users=users,
            clients=clients, chosen=_chosen(query), filtered=_is_filtered(query),
            agent=browsers.words, following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    async def end(self, seat: Seat, query: Query, form: Form) -> Response:
        sid = form.text("session")
        await self.services.db.write(lambda s: all_sessions.end_one(s, sid, seat.held, BY_ADMIN))
        return self.done(lists.here(seat, self.screen.path, query), "ended")

    # --- Many at once ---------------------------------------------------------------------------

    async def preview(self, seat: Seat, query: Query, form: Form) -> Response:
        """How many would end, and which; nothing has yet."""
        ids = [] if _means_all(form) else form.all("session")[:MOST_AT_ONCE]

        def unit(session: Session) -> tuple[int, Any, dict[str, str], dict[str, str]]:
            wanted = _named(session, query, form)
            query_ = all_sessions.matching(wanted).order_by(col(TABLES[wanted.kind].id).desc())
            rows = session.exec(query_.limit(MOST_AT_ONCE)).all() if ids else []
            count = all_sessions.count(session, wanted, seat.held)
            return count, rows, *_called(session, rows)

        count, rows, users, clients = await listed(self.services.db, unit)
        return self.page(
            seat, "sessions_end", title=_("End sessions"), ended=None, count=count,
            most=COUNTED, rows=rows, users=users, clients=clients, kind=_kind(query),
            chosen=dict.fromkeys(FILTERS, "") if ids else _chosen(query),
            back=lists.here(seat, self.screen.path, query),
        )  # fmt: skip

    async def carry_out(self, seat: Seat, query: Query, form: Form) -> Response:
        wanted = await listed(self.services.db, lambda s: _named(s, query, form))
        ended = await stopping.end_sessions(self.services.db, wanted, seat.held, BY_ADMIN)
        return self.page(
            seat, "sessions_end", title=_("End sessions"), ended=ended,
            back=lists.address(seat, self.screen.path, query),
        )  # fmt: skip

    deeds = {  # noqa: RUF012
        "end": Deed("end_session", "users:write", end),
        "some": Deed("end_sessions", "users:write", preview),
        "all": Deed("end_sessions", "users:write", preview),
        "carry_out": Deed("end_sessions", "users:write", carry_out),
    }


def _kind(query: Query) -> Kind:
    return "browser" if query.get("kind") == "browser" else "client"


def _wanted(session: Session, query: Query) -> Filter:
    """What the address asks for. People may be named; `ValidationFailed` for what is no moment."""
    return Filter(
        _kind(query),
        user_id=naming.user_id(session, query.get("user")),
        client_id=query.get("client", "").strip()[:200] or None,
        address=query.get("address", "").strip()[:100] or None,
        since=lists.day(query, "since"),
        until=lists.day(query, "until"),
    )


def _named(session: Session, query: Query, form: Form) -> Filter:
    """Those that are ticked, or all that the address asks for. All that there are end by a lockdown
    alone."""
    if _means_all(form):
        if not _is_filtered(query):
            raise ValidationFailed([("", _("Say which sessions: set a filter first"))])
        return _wanted(session, query)
    ids = form.all("session")[:MOST_AT_ONCE]
    if not ids:
        raise ValidationFailed([("/session", _("Tick some sessions first"))])
    return Filter(_kind(query), ids=ids)


def _means_all(form: Form) -> bool:
    return form.text("act") == "all" or form.ticked("all")


def _is_filtered(query: Query) -> bool:
    return any(query.get(name, "").strip() for name in FILTERS)


def _chosen(query: Query) -> dict[str, str]:
    """Moments as a field for them takes them."""
    moments = {name: lists.day(query, name) for name in ("since", "until")}
    return {name: query.get(name, "") for name in FILTERS} | {
        name: _typed(moment) for name, moment in moments.items()
    }


def _typed(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M") if moment else ""


def _called(session: Session, rows: Any) -> tuple[dict[str, str], dict[str, str]]:
    clients = [getattr(each, "client_id", None) for each in rows]
    return naming.users(session, [e.user_id for e in rows]), naming.clients(session, clients)


async def page(house: House) -> Sessions:
    return Sessions(house, await house.rendering())
