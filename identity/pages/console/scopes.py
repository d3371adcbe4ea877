"""`/console/scopes`: permissions, by the resource that they belong to, and who may ask for them."""

from itertools import groupby
from typing import Any

from sqlmodel import Session, col, select

from identity.directory.access import editing
from identity.directory.access.listing import scopes_matching
from identity.directory.access.table import RoleScope, Scope
from identity.http.messages import Response
from identity.pages.console import lists
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import listed

AUDIENCE = _("Resource that it belongs to")
HINT = _("An absolute URI, such as https://orders.example.com. Empty: none, or this service.")


class Scopes(Desk):
    screen = own("scopes")

    async def show(self, seat: Seat, query: Query) -> Response:
        q, audience = lists.searched(query), query.get("audience", "")[:200]
        filters = scopes_matching(q=q or None, audience=audience or None)
        window = lists.window(query, 100)

        def unit(session: Session) -> dict[str, Any]:
            rows, cursor = window.take(session, filters, Scope.name)
            holders: dict[str, list[str]] = {row.name: [] for row in rows}
            theirs = select(RoleScope).where(col(RoleScope.scope).in_(holders))
            for each in session.exec(theirs.order_by(RoleScope.role)):
                holders[each.scope].append(each.role)
            resources = select(Scope.audience).where(col(Scope.audience).is_not(None)).distinct()
            known = session.exec(resources.order_by(Scope.audience).limit(200)).all()
            return {"rows": list(rows), "cursor": cursor, "holders": holders, "resources": known}

        found = await listed(self.services.db, unit)
        by_home = sorted(found.pop("rows"), key=lambda row: (row.builtin, row.audience or ""))
        grouped = groupby(by_home, key=lambda row: (row.builtin, row.audience or ""))
        path = self.screen.path
        return self.page(
            seat, "scopes", title=_("Scopes and resources"), q=q, audience=audience,
            groups=[(builtin, home, list(rows)) for (builtin, home), rows in grouped],
            following=lists.following(seat, path, query, found.pop("cursor")),
            first=lists.first(seat, path, query), done=query.get("done", ""), told=words,
            **found,
        )  # fmt: skip

    async def sheet(self, seat: Seat, query: Query) -> Sheet:
        return Sheet(
            title=_("New scope"), button=_("Create scope"),
            lead=_("The role admin holds it from the start."),
            fields=[
                Field("name", _("Name"), required=True, longest=100,
                      hint=_("As applications ask for it, such as orders:read")),
                *about(Scope(name="", audience=query.get("audience"))),
            ],
            back=seat.at("/scopes"),
        )  # fmt: skip

    async def create(self, seat: Seat, query: Query, form: Form) -> Response:
        scope = await self.services.db.write(
            lambda session: editing.create_scope(session, name=form.text("name"), **said(form))
        )
        return self.done(seat.at("/scope", name=scope.name), "created")

    deeds = {"create": Deed("create_scope", "roles:write", create, sheet)}  # noqa: RUF012


def about(scope: Scope) -> list[Field]:
    """What can be said of it, beside its name."""
    described = Field(
        "description", _("What it allows, in people's words"), value=scope.description, longest=500
    )
    if scope.builtin:
        return [described]
    return [
        described,
        Field("audience", AUDIENCE, value=scope.audience or "", hint=HINT),
        Field("open_to_registered", _("Clients that registered themselves may ask for it"),
              "check", scope.open_to_registered),
    ]  # fmt: skip


def said(form: Form) -> dict[str, Any]:
    return {
        "description": form.text("description"),
        "audience": form.some("audience"),
        "open_to_registered": form.ticked("open_to_registered"),
    }


async def page(house: House) -> Scopes:
    return Scopes(house, await house.rendering())
