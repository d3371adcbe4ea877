"""`/console/role?name=…`: one role, and who has it."""

from typing import Any

from sqlmodel import Session

from identity.directory.access import editing
from identity.directory.access.granting import scopes_of_roles
from identity.directory.access.table import Role
from identity.directory.users.listing import Wanted
from identity.directory.users.listing import page as page_of
from identity.directory.users.table import User
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages import from_below
from identity.pages.console import lists
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet, changed
from identity.pages.console.roles import offered, second_factor
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import access as administration
from identity.store.paging import cursor as cursor_of
from identity.store.paging import listed


class RoleScreen(Desk):
    screen = own("role")

    async def show(self, seat: Seat, query: Query) -> Response:
        name, window = query.get("name", ""), lists.window(query)

        def unit(session: Session) -> dict[str, Any]:
            role = editing.get_role(session, name)
            holders, cursor = list[User](), None
            if seat.may("users:read"):
                holders, after = page_of(
                    session, Wanted(role=name), after=window.after, most=window.limit
                )
                cursor = None if after is None else cursor_of(after)
            scopes = sorted(scopes_of_roles(session, [name]))
            return {"role": role, "scopes": scopes, "holders": holders, "cursor": cursor}

        found = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "role", title=name, told=from_below.words, done=query.get("done", ""),
            following=lists.following(seat, path, query, found.pop("cursor")),
            first=lists.first(seat, path, query), **found,
        )  # fmt: skip

    async def _role(self, query: Query) -> tuple[Role, list[str]]:
        name = query.get("name", "")
        return await self.services.db.read(
            lambda s: (editing.get_role(s, name), sorted(scopes_of_roles(s, [name])))
        )

    async def edit_sheet(self, seat: Seat, query: Query) -> Sheet:
        role, held = await self._role(query)
        scopes = await self.services.db.read(offered)
        fields = [Field("description", _("Description"), value=role.description, longest=500)]
        if not role.builtin:
            fields.append(Field("scopes", _("Scopes"), "checks", held, options=scopes))
        fields.append(second_factor(role.acr))
        return Sheet(
            title=_("Change the role %s") % role.name, button=_("Save"), fields=fields,
            lead=_("Takes effect at once for everybody who has it, also in tokens already issued."),
            version=etag(role.version), back=seat.at("/role", name=role.name),
        )  # fmt: skip

    async def edit(self, seat: Seat, query: Query, form: Form) -> Response:
        role, held = await self._role(query)
        sent: dict[str, Any] = {
            "description": form.text("description"),
            "acr": "aal2" if form.ticked("acr") else None,
        }
        if not role.builtin:
            sent["scopes"] = sorted(form.all("scopes"))
        before = {"description": role.description, "acr": role.acr, "scopes": held}
        patch, version = changed(before, sent), form.some("version")
        await self.services.db.write(
            lambda s: administration.change_role(s, role.name, patch, seat.held, version)
        )
        return self.done(seat.at("/role", name=role.name), "saved")

    async def delete_sheet(self, seat: Seat, query: Query) -> Sheet:
        role, held = await self._role(query)
        return Sheet(
            title=_("Delete the role %s") % role.name, button=_("Delete for ever"), danger=True,
            lead=_("Whoever has it loses it at once."),
            facts=[(_("Scopes in it"), " ".join(held) or "–")],
            fields=[Field("confirm", _("Type the role's name to confirm"), required=True)],
            version=etag(role.version), back=seat.at("/role", name=role.name),
        )  # fmt: skip

    async def delete(self, seat: Seat, query: Query, form: Form) -> Response:
        name, version = query.get("name", ""), form.some("version")
        if form.text("confirm") != name:
            raise ValidationFailed([("/confirm", _("That is not its name"))])
        await self.services.db.write(
            lambda s: administration.delete_role(s, name, seat.held, version)
        )
        return self.done(seat.at("/roles"), "deleted")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_role", "roles:write", edit, edit_sheet, proof=True),
        "delete": Deed("delete_role", "roles:write", delete, delete_sheet, proof=True),
    }


async def page(house: House) -> RoleScreen:
    return RoleScreen(house, await house.rendering())
