"""`/account`: how one's account stands, and where to go from here."""

from typing import ClassVar

from sqlmodel import Session, func, select

from identity.directory import consents
from identity.http.messages import Request, Response
from identity.pages.account import happened
from identity.pages.account.own import FINE, Errors, OwnPage, shown
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import own_account
from identity.service.interactions import Person
from identity.tokens.sessions import listing

RECENT = 5


class Overview(OwnPage):
    name = ""
    done: ClassVar = {
        "password": _("Your password is changed. You are signed out everywhere else."),
        "safe": _(
            "Everything that was signed in has ended, and you have a new password. Look at your "
            "second factors and your e-mail address as well."
        ),
    }

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        def look(session: Session) -> tuple[int, int, list[happened.Told]]:
            browsers = listing.browsers_of(person.user.id).subquery()
            count = session.exec(select(func.count()).select_from(browsers)).one()
            events = own_account.history(session, person.user.id, None, RECENT)
            agreed = len(consents.of_user(session, person.user.id))
            return count, agreed, happened.told(session, person.user.id, events)

        browsers, applications, events = await self.services.db.read(look)
        return self.page(
            request, person, status=status, errors=errors,
            account=shown(person), second_factor=person.user.second_factor,
            browsers=browsers, applications=applications, events=events,
        )  # fmt: skip


async def page(house: House) -> Overview:
    return Overview(house, await house.rendering())
