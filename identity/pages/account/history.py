"""`/account/history`: what happened to one's account in the last 90 days, from the audit."""

from sqlmodel import Session

from identity.http.messages import Request, Response
from identity.pages.account import happened
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.service import own_account
from identity.service.interactions import Person

ON_A_PAGE = 50
LARGEST = 2**62


class History(OwnPage):
    name = "history"

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        """`?before=`: an event's number, behind which the page begins."""
        asked = request.query.get("before", "")
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None

        def look(session: Session) -> tuple[list[happened.Told], int | None]:
            found = own_account.history(session, person.user.id, number, ON_A_PAGE + 1)
            shown = found[:ON_A_PAGE]
            older = shown[-1].id if len(found) > ON_A_PAGE else None
            return happened.told(session, person.user.id, shown), older

        events, older = await self.services.db.read(look)
        return self.page(
            request, person, status=status, errors=errors,
            events=events, older=older, first=number is None,
        )  # fmt: skip


async def page(house: House) -> History:
    return History(house, await house.rendering())
