"""`/account/applications`: what may act in one's name, and does; to take back."""

from datetime import datetime
from typing import ClassVar, NamedTuple

from sqlmodel import Session, col, func, select

from identity.directory import consents
from identity.http.messages import Request, Response
from identity.pages import scopes
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.account.sessions import named
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.interactions import Person
from identity.tokens.sessions import lifecycle, listing
from identity.tokens.sessions.table import LoginSession
from identity.tokens.withdrawing import withdraw


class Application(NamedTuple):
    client_id: str
    name: str
    scopes: list[str]
    """What it may do, in words; empty where nobody was asked, for it is one of our own."""
    since: datetime | None
    used: datetime | None
    sessions: int


class Applications(OwnPage):
    name = "applications"
    done: ClassVar = {
        "revoked": _("That application can do nothing in your name any more."),
        "gone": _("That application could do nothing in your name already."),
    }

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        found = await self.services.db.read(lambda s: _look(s, person.user.id))
        return self.page(request, person, status=status, errors=errors, applications=found)

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        client_id, user_id = form.get("client", ""), person.user.id
        if form.get("act") != "revoke" or not client_id:
            return self.back()

        def unit(session: Session) -> bool:
            agreed = withdraw(session, user_id, client_id, "consent withdrawn")
            reason = "ended by the user"
            return (
                bool(lifecycle.end_all(session, reason, user_id=user_id, client_id=client_id))
                or agreed
            )

        return self.back("revoked" if await self.services.db.write(unit) else "gone")


def _look(session: Session, user_id: str) -> list[Application]:
    agreed = {each.client_id: each for each in consents.of_user(session, user_id)}
    live: dict[str, int] = {}
    for login in session.exec(listing.logins_of(user_id)):
        live[login.client_id] = live.get(login.client_id, 0) + 1
    ids = agreed.keys() | live.keys()
    used = dict(
        session.exec(
            select(LoginSession.client_id, func.max(LoginSession.last_used_at))
            .where(LoginSession.user_id == user_id, col(LoginSession.client_id).in_(ids))
            .group_by(LoginSession.client_id)
        ).all()
    )
    every = sorted({scope for each in agreed.values() for scope in each.scopes})
    words = scopes.described(session, every)
    names = named(session, set(ids))
    found = []
    for client_id in ids:
        consent = agreed.get(client_id)
        may = [words[scope] for scope in (consent.scopes if consent else ()) if scope in words]
        found.append(
            Application(
                client_id, names[client_id], may, consent.granted_at if consent else None,
                used.get(client_id), live.get(client_id, 0),
            )
        )  # fmt: skip
    return sorted(found, key=lambda each: (each.name.casefold(), each.client_id))


async def page(house: House) -> Applications:
    return Applications(house, await house.rendering())
