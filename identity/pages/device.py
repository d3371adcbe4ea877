"""`/device`: a device shows a code; whose is it, and may it? (RFC 8628 §3.3)

The code is typed, or comes with the address; either way the page says which application asks for
what, and nothing happens before somebody presses a button.
"""

from urllib.parse import urlencode

from identity.errors import IdentityError, TooManyRequests
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import fresh, returning
from identity.pages.registry import House
from identity.pages.rendering import Rendering
from identity.pages.scopes import described
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Device, Person
from identity.service.people import person_at

UNKNOWN = _("No device waits with this code. Compare it with what the device shows.")
CHANGED = _("Something has changed since you were asked. Please look again.")
GONE = _("This code is not good any more. Start again on the device.")


class Devices:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        typed = request.query.get("user_code", "")
        person = await self._person(request)
        if person is None:
            return self._to_sign_in(typed)
        if not typed:
            return self._form()
        found = await self._find(person, typed)
        if isinstance(found, Response):
            return found
        if found.must_prove:
            return self._to_sign_in(typed, again=True)
        return await self._ask(person, found)

    async def post(self, request: Request) -> Response:
        """An answer counts from whoever is signed in at this browser, by a form of ours."""
        form = await request.form()
        typed = form.get("user_code", "")
        person = await self._person(request)
        if person is None:
            return self._to_sign_in(typed)
        found = await self._find(person, typed)
        if isinstance(found, Response):
            return found
        if found.must_prove:
            return self._to_sign_in(typed, again=True)
        if form.get("user") != person.user.id:  # signed in meanwhile, in another tab
            return await self._ask(person, found, problem=CHANGED)
        answer = form.get("answer")
        if answer == "agree":
            done = await self._house.devices.allow(person, found)
        elif answer == "decline":
            done = await self._house.devices.decline(person, found)
        else:
            return await self._ask(person, found, problem=_("Choose one of the two."))
        if not done:
            return self._form(problem=GONE, status=422)
        return self._rendering.page(
            "device_done.html", forms_stay=True, client=found.client, allowed=answer == "agree"
        )

    # --- Steps ------------------------------------------------------------------------------

    async def _person(self, request: Request) -> Person | None:
        await fresh.catch_up(self._house.services, request)
        return await person_at(self._house.services, request)

    async def _find(self, person: Person, typed: str) -> Device | Response:
        try:
            found = await self._house.devices.find(person, typed)
        except TooManyRequests as locked:
            return self._form(typed, problem=TOO_MANY, status=locked.status, locked=locked)
        if found is None:
            return self._form(typed, problem=UNKNOWN, status=422)
        return found

    def _to_sign_in(self, typed: str, *, again: bool = False) -> Response:
        base = self._rendering.base
        here = f"{base}/device?{urlencode({'user_code': typed})}" if typed else f"{base}/device"
        address = returning.with_to(f"{base}/sign-in", here)
        return see_other(f"{address}&again=1" if again else address)

    # --- What is shown ------------------------------------------------------------------------

    def _form(
        self,
        typed: str = "",
        *,
        problem: str | None = None,
        status: int = 200,
        locked: IdentityError | None = None,
    ) -> Response:
        headers = []
        if locked is not None:
            headers.append((b"retry-after", locked.headers()["Retry-After"].encode()))
        return self._rendering.page(
            "device.html",
            status=status,
            headers=headers,
            forms_stay=True,
            typed=typed[:40],
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=f"{self._rendering.base}/device",
        )

    async def _ask(self, person: Person, device: Device, problem: str | None = None) -> Response:
        names = list(device.scopes)
        words = await self._house.services.db.read(lambda session: described(session, names))
        base = self._rendering.base
        here = f"{base}/device?{urlencode({'user_code': device.user_code})}"
        return self._rendering.page(
            "device_ask.html",
            status=422 if problem else 200,
            forms_stay=True,
            client=device.client,
            user_code=device.user_code,
            username=person.user.username,
            user_id=person.user.id,
            scopes=[words[name] for name in names if name in words],
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=f"{base}/device",
            another=returning.with_to(f"{base}/sign-out", here),
        )


TOO_MANY = _("Too many wrong codes. Wait a few minutes, then try again.")


async def page(house: House) -> Devices:
    return Devices(house, await house.rendering())
