"""`/console/roles`: which roles there are, and what each holds."""

from sqlmodel import Session, col, select

from identity.directory.access import editing
from identity.directory.access.listing import roles_matching
from identity.directory.access.table import Role, RoleScope, Scope
from identity.http.messages import Response
from identity.pages import from_below
from identity.pages.console import lists
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import listed


class Roles(Desk):
    screen = own("roles")

    async def show(self, seat: Seat, query: Query) -> Response:
        q, scope = lists.searched(query), query.get("scope", "")[:100]
        filters, window = roles_matching(q=q or None, scope=scope or None), lists.window(query)

        def unit(session: Session) -> tuple[list[Role], str | None, dict[str, list[str]]]:
            rows, cursor = window.take(session, filters, Role.name)
            holds: dict[str, list[str]] = {row.name: [] for row in rows}
            theirs = select(RoleScope).where(col(RoleScope.role).in_(holds))
            for each in session.exec(theirs.order_by(RoleScope.scope)):
                holds[each.role].append(each.scope)
            return list(rows), cursor, holds

        rows, cursor, holds = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "roles", title=_("Roles"), rows=rows, told=from_below.words,
            holds=holds, q=q, scope=scope,
            following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    async def sheet(self, seat: Seat, query: Query) -> Sheet:
        scopes = await self.services.db.read(offered)
        return Sheet(
            title=_("New role"), button=_("Create role"),
            lead=_("A role is a named set of scopes. You can give it those that you hold."),
            fields=[
                Field("name", _("Name"), required=True, longest=64,
                      hint=_("Letters, digits and . _ : -")),
                Field("description", _("Description"), longest=500),
                Field("scopes", _("Scopes"), "checks", [], options=scopes),
                second_factor(None),
            ],
            back=seat.at("/roles"),
        )  # fmt: skip

    async def create(self, seat: Seat, query: Query, form: Form) -> Response:
        def unit(session: Session) -> Role:
            return editing.create_role(
                session, name=form.text("name"), description=form.text("description"),
                scopes=form.all("scopes"), acr="aal2" if form.ticked("acr") else None,
                held=seat.held,
            )  # fmt: skip

        role = await self.services.db.write(unit)
        return self.done(seat.at("/role", name=role.name), "created")

    deeds = {"create": Deed("create_role", "roles:write", create, sheet, proof=True)}  # noqa: RUF012


def offered(session: Session) -> list[Option]:
    """Every scope, those of one's own making first."""
    rows = session.exec(select(Scope).order_by(Scope.name).limit(500)).all()
    return [
        Option(row.name, row.name, from_below.words(row.description))
        for row in sorted(rows, key=lambda row: (row.builtin, row.name))
    ]


def second_factor(acr: str | None) -> Field:
    return Field(
        "acr", _("Counts only for who has signed in with a second factor"), "check", acr is not None
    )


async def page(house: House) -> Roles:
    return Roles(house, await house.rendering())
