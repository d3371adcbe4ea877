"""`/account/email`: another e-mail address. It is a login name, so it takes a fresh proof."""

from identity.errors import Conflict, TooManyRequests, ValidationFailed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages.account.own import FINE, Errors, OwnPage, shown
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import own_account
from identity.service.interactions import Person

WRONG = _("That is no e-mail address.")
TAKEN = _("Another account has this e-mail address.")
TOO_MANY = _("That was tried too often. Wait a few minutes, then try again.")
LONGEST = 320


class Email(OwnPage):
    name, within, fresh = "email", "profile", True

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        return self._form(request, person, shown(person).email or "", errors, status)

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        email = form.get("email", "")
        try:
            if len(email) > LONGEST:
                raise ValidationFailed([("/email", WRONG)])
            await own_account.update_profile(
                self.services, person.user.id, {"email": email or None}, lambda _: None, fresh=True
            )
        except Conflict:
            return self._form(request, person, email, {"email": TAKEN}, 422)
        except TooManyRequests as locked:
            return self._form(request, person, email, {"": TOO_MANY}, locked.status)
        except ValidationFailed:
            return self._form(request, person, email, {"email": WRONG}, 422)
        done = "mail" if email and self.services.mails.on else "email"
        return see_other(f"{self.rendering.base}/account/profile?done={done}")

    def _form(
        self, request: Request, person: Person, email: str, errors: Errors, status: int
    ) -> Response:
        return self.page(request, person, status=status, errors=errors, email=email)


async def page(house: House) -> Email:
    return Email(house, await house.rendering())
