"""Signing in by a passkey alone: no name is typed, and no second step is due."""

from identity.authentication.passkeys.ceremonies import Options
from identity.authentication.passkeys.errors import (
    DoubtedPasskey,
    PasskeyRefused,
    StaleChallenge,
    UnknownPasskey,
)
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.pages.beginning import Asked, Beginning
from identity.pages.registry import House
from identity.pages.rendering import Header
from identity.pages.words import _
from identity.records import audit
from identity.service.people import person_at
from identity.store import Work

SCRIPT = "passkeys.js"
NOT_ACCEPTED = _("The passkey was not accepted. Try again, or sign in by password.")
UNKNOWN = _("This passkey is not known here any more. Sign in another way, then add a new one.")
DOUBTED = _(
    "Somebody may have a copy of this passkey. Sign in by password and another second factor; your "
    "account page then asks whether it is yours."
)
LATE = _("That took too long. Try again.")


def words_of(refusal: PasskeyRefused) -> str:
    if isinstance(refusal, UnknownPasskey):
        return UNKNOWN
    if isinstance(refusal, DoubtedPasskey):
        return DOUBTED
    return LATE if isinstance(refusal, StaleChallenge) else NOT_ACCEPTED


class ByPasskey:
    def __init__(self, house: House, beginning: Beginning) -> None:
        self._services = house.services
        self._beginning = beginning

    def offered(self, request: Request) -> tuple[Options | None, list[Header]]:
        """What the page asks the browser for, and what the browser has to remember; None where
        passkeys are not possible here."""
        passkeys = self._services.passkeys
        if not passkeys.possible:
            return None, []
        browser, headers = self._beginning.browser(request)
        return passkeys.ask(browser), headers

    async def post(self, request: Request, asked: Asked, credential: str) -> Response:
        """Raises `PasskeyRefused`."""
        services, passkeys = self._services, self._services.passkeys
        before = await person_at(services, request)
        browser = services.cookies.read(request, cookies.BROWSER) or ""
        with services.second_factor.refusals_noted(None, asked.client_id):
            shown = await passkeys.show(credential, browser)
        audit.act_as("user", shown.user_id)

        def unit(work: Work) -> str:
            passkeys.log_in(work, shown)
            return self._beginning.begin(work, request, asked, shown.user_id, shown.proof(), before)

        with services.second_factor.refusals_noted(shown.user_id, asked.client_id):
            if before is not None and before.user.id != shown.user_id:
                cookie = await services.db.write(unit)
            else:
                cookie = await services.db.write_plain(unit)
        services.metrics.login("success")
        return self._beginning.go_on(asked, cookie)
