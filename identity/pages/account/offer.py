"""`/account/offer`: a second factor for whoever has just signed in by a password alone. Asked once
(`authentication.offering`), and as easily put off."""

from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.service.interactions import Person


class Offer(OwnPage):
    name, within = "offer", "factors"

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        base = self.rendering.base
        to = returning.to(request.query, base) or f"{base}/account"
        if person.user.second_factor:
            return see_other(to)
        return self.page(
            request, person, status=status, errors=errors, to=to,
            possible=self.services.passkeys.possible,
        )  # fmt: skip


async def page(house: House) -> Offer:
    return Offer(house, await house.rendering())
