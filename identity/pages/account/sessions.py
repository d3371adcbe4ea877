"""`/account/sessions`: where one is signed in, with a browser or by an application, to end."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from sqlmodel import Session, col, select

from identity.authentication import browser
from identity.directory.clients.table import Client
from identity.errors import NotFound
from identity.http.messages import Request, Response
from identity.pages.account import browsers as spelt
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.interactions import Person
from identity.tokens.sessions import lifecycle, listing
from identity.tokens.sessions.table import BrowserSession, LoginSession

MOST = 100
"""Of each kind that are shown."""
REASON = "ended by the user"


class Shown(NamedTuple):
    id: str
    where: str
    """The browser, in words."""
    row: BrowserSession | LoginSession
    applications: list[str]
    own: bool


class Sessions(OwnPage):
    name = "sessions"
    done: ClassVar = {
        "ended": _("That session has ended."),
        "gone": _("That session had ended already."),
        "others": _("You are signed out everywhere but here."),
    }

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        browsers, logins, more = await self.services.db.read(lambda s: _look(s, person))
        return self.page(
            request, person, status=status, errors=errors,
            browsers=browsers, logins=logins, more=more,
        )  # fmt: skip

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        act, session_id, user_id = form.get("act"), form.get("session", ""), person.user.id
        if act == "browser":
            return await self._end(lambda s: browser.end_of(s, user_id, session_id, REASON))
        if act == "login":
            return await self._end(lambda s: lifecycle.end_of(s, user_id, session_id, REASON))
        if act == "others":
            here = person.session.id
            await self.services.db.write(
                lambda s: lifecycle.end_all(s, REASON, user_id=user_id, keep_browser=here)
            )
            return self.back("others")
        return self.back()

    async def _end(self, unit: Callable[[Session], None]) -> Response:
        try:
            await self.services.db.write(unit)
        except NotFound:
            return self.back("gone")
        return self.back("ended")


def _look(session: Session, person: Person) -> tuple[list[Shown], list[Shown], bool]:
    user_id = person.user.id
    newest = col(BrowserSession.last_used_at).desc(), col(BrowserSession.id).desc()
    rows = session.exec(listing.browsers_of(user_id).order_by(*newest).limit(MOST + 1)).all()
    below = listing.below(session, [row.id for row in rows])
    alone = listing.logins_of(user_id).where(col(LoginSession.browser_session_id).is_(None))
    latest = col(LoginSession.last_used_at).desc(), col(LoginSession.id).desc()
    logins = session.exec(alone.order_by(*latest).limit(MOST + 1)).all()
    ids = {each.client_id for each in (*logins, *(x for some in below.values() for x in some))}
    names = named(session, ids)
    browsers = [
        Shown(
            row.id, spelt.words(row.user_agent), row,
            sorted({names[each.client_id] for each in below.get(row.id, [])}),
            row.id == person.session.id,
        )
        for row in rows[:MOST]
    ]  # fmt: skip
    browsers.sort(key=lambda each: not each.own)
    others = [
        Shown(row.id, spelt.words(row.user_agent), row, [names[row.client_id]], False)
        for row in logins[:MOST]
    ]
    return browsers, others, len(rows) > MOST or len(logins) > MOST


def named(session: Session, client_ids: set[str]) -> dict[str, str]:
    """What people know clients by."""
    found = session.exec(select(Client.id, Client.name).where(col(Client.id).in_(client_ids)))
    return {client_id: name or client_id for client_id, name in found}


async def page(house: House) -> Sessions:
    return Sessions(house, await house.rendering())
