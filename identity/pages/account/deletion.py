"""`/account/delete`: leaving for good, by typing one's name; and, for a while, no further than the
next sign-in."""

from datetime import datetime

from sqlmodel import Session

from identity.authentication import leaving
from identity.clock import utcnow
from identity.directory.users import accounts
from identity.errors import Conflict
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.interactions import Person

TYPE_IT = _("Type your username, as it stands above.")
LAST = _("You are the last administrator who can sign in: make somebody else one first.")


class Deletion(OwnPage):
    name, within, fresh = "delete", "data", True

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        grace = self.services.settings.accounts.account_deletion_grace
        return self.page(
            request, person, "deletion", status=status, errors=errors,
            due=utcnow() + grace if grace else None,
        )  # fmt: skip

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        if form.get("typed", "").strip() != person.user.username:
            return await self.show(request, person, {"typed": TYPE_IT}, status=422)
        grace = self.services.settings.accounts.account_deletion_grace

        def unit(session: Session) -> datetime | None:
            user = accounts.get(session, person.user.id, lock=True)
            return leaving.ask(session, user, grace)

        try:
            due = await self.services.db.write(unit)
        except Conflict:
            return await self.show(request, person, {"": LAST}, status=409)
        return self.rendering.page(
            "account/left.html",
            headers=[self.services.cookies.clear(cookies.SESSION)],
            forms_stay=True,
            due=due,
        )


async def page(house: House) -> Deletion:
    return Deletion(house, await house.rendering())
