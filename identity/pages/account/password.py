"""`/account/password`, and what it shares with `/account/not-me`: a new password for whoever has
just proved who they are. What else was signed in ends with it."""

from sqlmodel import Session

from identity.authentication import browser, changing, securing
from identity.authentication.levels import Proof
from identity.authentication.passwords import policy
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES
from identity.pages.words import _
from identity.service.interactions import Person

REPEAT = _("The two are not the same.")
MISSING = _("Choose a new password.")


class NewPassword(OwnPage):
    """`keeps`: whether this browser's own session, and what hangs on it, goes on."""

    keeps: bool
    leads_to: str

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        return self.page(
            request, person, status=status, errors=errors, least=self._least(person),
            scripts=[CONVENIENCES],
        )  # fmt: skip

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        new = form.get("new_password", "")
        if not new:
            return await self.show(request, person, {"new_password": MISSING}, status=422)
        if new != form.get("repeated"):
            return await self.show(request, person, {"repeated": REPEAT}, status=422)

        def then(session: Session, user: User) -> str:
            if self.keeps:
                return browser.rename(session, person.session)
            securing.said(session, user, "page")
            proof = Proof(person.session.amr, person.session.acr)
            return self.beginning.raised(session, request, user.id, proof, None)

        try:
            cookie = await changing.renew(
                self.services.login,
                person.user.username,
                new,
                then,
                alone=self.services.settings.passwords.password_min_length,
                keep_browser=person.session.id if self.keeps else None,
            )
        except (Conflict, NotFound):  # signed out, renamed or changed a moment ago
            return self.back()
        except ValidationFailed as refusal:
            errors = {"new_password": words(refusal.errors[0][1])}
            return await self.show(request, person, errors, status=422)
        base = self.rendering.base
        return see_other(f"{base}/account?done={self.leads_to}", [self.beginning.set(cookie)])

    def _least(self, person: Person) -> int:
        alone = self.services.settings.passwords.password_min_length
        return policy.least_of(second_factor=person.user.second_factor, alone=alone)


class Password(NewPassword):
    name, fresh = "password", True
    keeps, leads_to = True, "password"


async def page(house: House) -> Password:
    return Password(house, await house.rendering())
