"""`/console/scope?name=…`: one scope, and which roles and clients have it."""

import json
from typing import Any

from sqlalchemy import String, cast
from sqlmodel import Session, col, or_, select

from identity.directory.access import editing
from identity.directory.access.granting import ALL
from identity.directory.access.table import RoleScope, Scope
from identity.directory.clients.table import Client
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet, changed
from identity.pages.console.scopes import about, said
from identity.pages.console.screens import screen as own
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import access as administration
from identity.store.paging import listed

FEW = 100


class ScopeScreen(Desk):
    screen = own("scope")

    async def show(self, seat: Seat, query: Query) -> Response:
        name = query.get("name", "")

        def unit(session: Session) -> dict[str, Any]:
            scope = editing.get_scope(session, name)
            roles = session.exec(
                select(RoleScope.role)
                .where(RoleScope.scope == scope.name)
                .order_by(RoleScope.role)
                .limit(FEW)
            ).all()
            named, text = json.dumps(scope.name), cast(col(Client.scopes), String)
            asking = or_(
                text.contains(named, autoescape=True),
                text.contains(json.dumps(ALL), autoescape=True),
            )
            clients = (
                session.exec(select(Client).where(asking).order_by(Client.id).limit(FEW)).all()
                if seat.may("clients:read")
                else []
            )
            return {"scope": scope, "roles": roles, "clients": clients}

        found = await listed(self.services.db, unit)
        return self.page(
            seat, "scope", title=name, all=ALL, told=words, done=query.get("done", ""), **found
        )

    async def _scope(self, query: Query) -> Scope:
        name = query.get("name", "")
        return await self.services.db.read(lambda session: editing.get_scope(session, name))

    async def edit_sheet(self, seat: Seat, query: Query) -> Sheet:
        scope = await self._scope(query)
        return Sheet(
            title=_("Change the scope %s") % scope.name, button=_("Save"), fields=about(scope),
            version=etag(scope.version), back=seat.at("/scope", name=scope.name),
        )  # fmt: skip

    async def edit(self, seat: Seat, query: Query, form: Form) -> Response:
        scope, sent, version = await self._scope(query), said(form), form.some("version")
        if scope.builtin:
            sent = {"description": sent["description"]}
        patch = changed({name: getattr(scope, name) for name in sent}, sent)
        await self.services.db.write(
            lambda s: administration.change_scope(s, scope.name, patch, seat.held, version)
        )
        return self.done(seat.at("/scope", name=scope.name), "saved")

    async def delete_sheet(self, seat: Seat, query: Query) -> Sheet:
        scope = await self._scope(query)
        return Sheet(
            title=_("Delete the scope %s") % scope.name, button=_("Delete for ever"), danger=True,
            lead=_("Roles, clients and tokens already issued lose it at once."),
            fields=[Field("confirm", _("Type the scope's name to confirm"), required=True)],
            version=etag(scope.version), back=seat.at("/scope", name=scope.name),
        )  # fmt: skip

    async def delete(self, seat: Seat, query: Query, form: Form) -> Response:
        name, version = query.get("name", ""), form.some("version")
        if form.text("confirm") != name:
            raise ValidationFailed([("/confirm", _("That is not its name"))])
        await self.services.db.write(
            lambda s: administration.delete_scope(s, name, seat.held, version)
        )
        return self.done(seat.at("/scopes"), "deleted")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_scope", "roles:write", edit, edit_sheet),
        "delete": Deed("delete_scope", "roles:write", delete, delete_sheet, proof=True),
    }


async def page(house: House) -> ScopeScreen:
    return ScopeScreen(house, await house.rendering())
