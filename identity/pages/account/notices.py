"""`/account/notices`: whether a mail tells of sign-ins with a new device. To do without it takes a
fresh proof: it would tell of whoever does so in somebody else's name."""

from typing import ClassVar

from sqlmodel import Session

from identity.directory.users import accounts
from identity.http.messages import Request, Response
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import own_account
from identity.service.interactions import Person


class Notices(OwnPage):
    name, within, fresh = "notices", "sessions", True
    done: ClassVar = {"saved": _("Saved.")}

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        user = await self.services.db.read(lambda s: accounts.get(s, person.user.id))
        return self.page(
            request, person, status=status, errors=errors, new_device=user.device_notices
        )

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        def unit(session: Session) -> None:
            user = accounts.get(session, person.user.id, lock=True)
            own_account.choose_notices(session, user, new_device="new_device" in form)

        await self.services.db.write(unit)
        return self.back("saved")


async def page(house: House) -> Notices:
    return Notices(house, await house.rendering())
