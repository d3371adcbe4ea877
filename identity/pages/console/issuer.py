"""`/console/issuer?id=…`: one trusted issuer."""

from typing import Any

from identity.directory.issuers import editing
from identity.directory.issuers.table import TrustedIssuer
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet, changed
from identity.pages.console.issuers import about, said
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import access as administration


class IssuerScreen(Desk):
    screen = own("issuer")

    async def show(self, seat: Seat, query: Query) -> Response:
        issuer = await self._issuer(query)
        title = issuer.name or issuer.issuer
        return self.page(seat, "issuer", title=title, issuer=issuer, done=query.get("done", ""))

    async def _issuer(self, query: Query) -> TrustedIssuer:
        issuer_id = query.get("id", "")
        return await self.services.db.read(lambda session: editing.get(session, issuer_id))

    async def edit_sheet(self, seat: Seat, query: Query) -> Sheet:
        issuer = await self._issuer(query)
        status = Field(
            "status", _("Status"), "select", issuer.status,
            options=[Option("active", _("active")), Option("disabled", _("disabled"))],
        )  # fmt: skip
        return Sheet(
            title=_("Change %s") % (issuer.name or issuer.issuer), button=_("Save"),
            lead=_("Takes effect at once."), fields=[status, *about(issuer)],
            version=etag(issuer.version), back=seat.at("/issuer", id=issuer.id),
        )  # fmt: skip

    async def edit(self, seat: Seat, query: Query, form: Form) -> Response:
        issuer, version = await self._issuer(query), form.some("version")
        sent: dict[str, Any] = {"status": form.text("status"), **said(form)}
        patch = changed({name: getattr(issuer, name) for name in sent}, sent)
        await self.services.db.write(
            lambda session: administration.change_issuer(
                session, issuer.id, patch, own_issuer=self.services.settings.issuer,
                held=seat.held, if_match=version,
            )
        )  # fmt: skip
        return self.done(seat.at("/issuer", id=issuer.id), "saved")

    async def delete_sheet(self, seat: Seat, query: Query) -> Sheet:
        issuer = await self._issuer(query)
        return Sheet(
            title=_("Trust %s no longer") % (issuer.name or issuer.issuer),
            button=_("Delete for ever"), danger=True,
            lead=_("Nothing that it says counts any more. What was issued on its word runs out."),
            fields=[
                Field("confirm", _("Type the issuer to confirm"), required=True, longest=500,
                      hint=issuer.issuer)
            ],
            version=etag(issuer.version), back=seat.at("/issuer", id=issuer.id),
        )  # fmt: skip

    async def delete(self, seat: Seat, query: Query, form: Form) -> Response:
        issuer, version = await self._issuer(query), form.some("version")
        if form.text("confirm") != issuer.issuer:
            raise ValidationFailed([("/confirm", _("That is not the issuer"))])
        await self.services.db.write(
            lambda s: administration.delete_issuer(s, issuer.id, seat.held, version)
        )
        return self.done(seat.at("/issuers"), "deleted")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_trusted_issuer", "clients:write", edit, edit_sheet, proof=True),
        "delete": Deed("delete_trusted_issuer", "clients:write", delete, delete_sheet, proof=True),
    }


async def page(house: House) -> IssuerScreen:
    return IssuerScreen(house, await house.rendering())
