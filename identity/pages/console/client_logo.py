"""`/console/client-logo?id=…`: the logo that people see beside a client's name."""

from typing import Any

from sqlmodel import Session, select

from identity.directory.branding.current import Picture
from identity.directory.branding.table import Logo
from identity.directory.clients import accounts
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages.console.branding import picture_sheet
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Form, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import branding as administration


class ClientLogo(Desk):
    screen = own("client_logo")

    async def show(self, seat: Seat, query: Query) -> Response:
        def unit(session: Session) -> dict[str, Any]:
            client = accounts.get(session, query.get("id", ""))
            logo = session.exec(select(Logo).where(Logo.client_id == client.id)).first()
            shown = Picture(logo.digest, logo.width, logo.height) if logo else None
            return {"client": client, "logo": shown}

        found = await self.services.db.read(unit)
        return self.page(
            seat, "client_logo", title=_("Logo"), done=query.get("done", ""), **found
        )  # fmt: skip

    async def sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self.services.db.read(lambda s: accounts.get(s, query.get("id", "")))
        title = _("Set the logo of %s") % (client.name or client.id)
        return picture_sheet(title, etag(client.version), self._here(seat, query))

    async def set_logo(self, seat: Seat, query: Query, form: Form) -> Response:
        made, client_id = await administration.picture(form.file("logo")), query.get("id", "")
        version = form.some("version")
        await self.services.db.write(
            lambda s: administration.set_logo_of(s, client_id, made, seat.held, version)
        )
        return self.done(self._here(seat, query), "saved")

    async def remove(self, seat: Seat, query: Query, form: Form) -> Response:
        client_id = query.get("id", "")
        await self.services.db.write(
            lambda s: administration.remove_logo_of(s, client_id, seat.held, None)
        )
        return self.done(self._here(seat, query), "deleted")

    def _here(self, seat: Seat, query: Query) -> str:
        return seat.at("/client-logo", id=query.get("id"))

    deeds = {  # noqa: RUF012
        "logo": Deed("set_client_logo", "clients:write", set_logo, sheet),
        "no_logo": Deed("delete_client_logo", "clients:write", remove),
    }


async def page(house: House) -> ClientLogo:
    return ClientLogo(house, await house.rendering())
