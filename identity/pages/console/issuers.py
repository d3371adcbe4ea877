"""`/console/issuers`: whose word counts here besides our own."""

import json
from typing import Any

from sqlmodel import Session

from identity.directory.issuers import editing
from identity.directory.issuers.table import TrustedIssuer
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.pages.console import lists
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import listed

MATCHES = (
    Option("none", _("nothing: it speaks of no users of ours")),
    Option("id", _("the user's id")),
    Option("username", _("the username")),
    Option("email", _("the verified e-mail address")),
)


class Issuers(Desk):
    screen = own("issuers")

    async def show(self, seat: Seat, query: Query) -> Response:
        q, window = lists.searched(query), lists.window(query)

        def unit(session: Session) -> tuple[Any, str | None]:
            return window.take(session, editing.matching(q or None), TrustedIssuer.id)

        rows, cursor = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "issuers", title=_("Trusted issuers"), rows=rows, q=q,
            following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    async def sheet(self, seat: Seat, query: Query) -> Sheet:
        name = Field(
            "issuer", _("Issuer"), required=True, longest=500,
            hint=_("Exactly as its tokens have it in iss."),
        )  # fmt: skip
        return Sheet(
            title=_("Trust an issuer"), button=_("Trust it"),
            lead=_("Its word decides which clients, and perhaps which users, its tokens are. It "
                   "takes every built-in scope to say so."),
            fields=[name, *about(TrustedIssuer(issuer=""))],
            back=seat.at("/issuers"),
        )  # fmt: skip

    async def create(self, seat: Seat, query: Query, form: Form) -> Response:
        issuer, sent = form.text("issuer"), said(form)
        made = await self.services.db.write(
            lambda session: editing.create(
                session, issuer=issuer, chosen=sent,
                own_issuer=self.services.settings.issuer, held=seat.held,
            )
        )  # fmt: skip
        return self.done(seat.at("/issuer", id=made.id), "created")

    deeds = {  # noqa: RUF012
        "create": Deed("create_trusted_issuer", "clients:write", create, sheet, proof=True)
    }


def about(issuer: TrustedIssuer) -> list[Field]:
    keys = json.dumps(issuer.jwks, indent=1) if issuer.jwks else ""
    return [
        Field("name", _("Name"), value=issuer.name),
        Field("jwks_uri", _("Where its keys are"), value=issuer.jwks_uri or "", longest=2000,
              hint=_("Empty: where its metadata say.")),
        Field("jwks", _("Its keys themselves"), "textarea", keys, longest=30_000,
              hint=_("A JSON Web Key Set, where they are not fetched.")),
        Field("audience", _("What its tokens have to be for"), value=issuer.audience or "",
              hint=_("Empty: this service.")),
        Field("user_match", _("What of a user its tokens name"), "select", issuer.user_match,
              options=[Option(value, _(words)) for value, words, _hint in MATCHES]),
        Field("user_claim", _("The claim that names them"), value=issuer.user_claim,
              required=True),
    ]  # fmt: skip


def said(form: Form) -> dict[str, Any]:
    keys = form.text("jwks")
    try:
        jwks = json.loads(keys) if keys else None
    except (ValueError, RecursionError) as mistake:
        words = _("Is not JSON: %s") % mistake
        raise ValidationFailed([("/jwks", words)]) from None
    if jwks is not None and not isinstance(jwks, dict):
        raise ValidationFailed([("/jwks", _("Must be an object with the member keys"))])
    return {
        "name": form.text("name"),
        "jwks": jwks,
        "jwks_uri": form.some("jwks_uri"),
        "audience": form.some("audience"),
        "user_match": form.text("user_match"),
        "user_claim": form.text("user_claim"),
    }


async def page(house: House) -> Issuers:
    return Issuers(house, await house.rendering())
