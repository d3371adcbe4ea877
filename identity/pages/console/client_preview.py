"""`/console/client-preview?id=…`: what a token of this client would say, made by the mint that
makes them and never signed (`service.token_preview`)."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast, get_args

from sqlmodel import Session

from identity.directory.clients import accounts as clients
from identity.directory.clients.table import Client
from identity.directory.users.accounts import find_by_login
from identity.directory.users.table import User
from identity.errors import Conflict, IdentityError, NotFound, ValidationFailed
from identity.http.messages import Response
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.forms import sentence
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import token_preview
from identity.service.token_preview import Level, Preview
from identity.store.paging import listed

FIELDS = ("user", "scope", "resource", "acr")
MOMENTS = frozenset(("exp", "iat", "nbf", "auth_time", "updated_at"))
LEVELS = {
    "aal1": _("a password"),
    "aal2": _("a password and a second factor"),
    "phr": _("a passkey"),
}


class Claim(NamedTuple):
    name: str
    value: str
    at: datetime | None


class ClientPreview(Desk):
    screen = own("client_preview")

    async def show(self, seat: Seat, query: Query) -> Response:
        client_id, named = query.get("id", ""), query.get("user", "").strip()[:320]
        asked = {name: query.get(name, "").strip()[:2000] for name in FIELDS}
        if asked["acr"] not in get_args(Level):
            asked["acr"] = "aal1"

        def unit(session: Session) -> tuple[Client, User | None]:
            return clients.get(session, client_id), _meant(session, named)

        client, user = await listed(self.services.db, unit)
        made, problem = None, ("", "")
        if named and user is None:
            problem = ("user", _("There is no such user."))
        elif "user" in query or "for" in query:
            try:
                made = await self._made(client_id, user, asked)
            except (Conflict, NotFound, ValidationFailed) as error:
                problem = _mistaken(error)
        return self.page(
            seat, "client_preview", title=_("Token of %s") % (client.name or client.id),
            client=client, user=user, asked=asked, levels=LEVELS, made=made, problem=problem,
            header=json.dumps(made.header, indent=1) if made else "",
            claims=_claims(made.claims) if made else [],
            id_token=_claims(made.id_token or {}) if made else [],
            status=422 if problem[1] else 200,
        )  # fmt: skip

    async def _made(self, client_id: str, user: User | None, asked: dict[str, str]) -> Preview:
        return await token_preview.preview(
            self.services, client_id, user_id=user.id if user else None,
            scope=asked["scope"] or None, resource=asked["resource"] or None,
            acr=cast(Level, asked["acr"]),
        )  # fmt: skip


def _meant(session: Session, named: str) -> User | None:
    """By username, e-mail address or id."""
    return (find_by_login(session, named) or session.get(User, named)) if named else None


def _mistaken(error: IdentityError) -> tuple[str, str]:
    """The field, and what is wrong with it."""
    if isinstance(error, ValidationFailed):
        where, words = error.errors[0]
        return where.strip("/"), sentence(words)
    return "user", sentence(error.detail)


def _claims(claims: dict[str, Any]) -> list[Claim]:
    return [
        Claim(
            name,
            json.dumps(value, ensure_ascii=False),
            datetime.fromtimestamp(value, UTC)
            if name in MOMENTS and isinstance(value, int)
            else None,
        )
        for name, value in claims.items()
    ]


async def page(house: House) -> ClientPreview:
    return ClientPreview(house, await house.rendering())
