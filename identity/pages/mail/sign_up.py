"""`/sign-up`: an account of one's own, where that is allowed: first the e-mail address, which has
to be shown to be theirs, then a name and a password. A request that waits for whoever makes one
stays in the address: from there they sign in, once their mail has come."""

from typing import Any

from sqlmodel import Session

from identity.authentication.mail import signing_up
from identity.authentication.passwords import policy
from identity.directory.users import names
from identity.errors import Conflict, LockedDown, NotFound, TooManyRequests, ValidationFailed
from identity.http.messages import Request, Response
from identity.pages import returning
from identity.pages.from_below import words
from identity.pages.languages import speech
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Rendering
from identity.pages.signing_in import LOCKED, STOPPED
from identity.pages.words import _
from identity.records import audit

NO_ADDRESS = _("That is no e-mail address.")
NO_NAME = _("A username has 1 to 64 letters, digits and signs, and no spaces.")
NOT_YOURS = _("A username with @ can only be your own e-mail address.")
TAKEN = _("Somebody has this username already. Choose another.")


class SignUp:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._services = house.services
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        self._check()
        text = request.query.get("token")
        if text is None:
            return self._page("ask", to=self._to(request), email="", problem=None)
        address = await self._address(text)
        return self._dead() if address is None else self._choose(text, address)

    async def post(self, request: Request) -> Response:
        self._check()
        form = await request.form()
        if "token" not in form:
            return await self._ask(form.get("email", "").strip(), self._to(request))
        text = form["token"]
        address = await self._address(text)
        if address is None:
            return self._dead()
        return await self._make(text, address, form)

    def _check(self) -> None:
        if not self._services.settings.accounts.sign_up:
            raise NotFound

    def _to(self, request: Request) -> str | None:
        return returning.to(request.query, self._rendering.base)

    async def _address(self, text: str) -> str | None:
        """Of a link that is good, and whose address has no account yet."""
        address = signing_up.address_of(self._services.master, text)
        if address is None:
            return None
        taken = await self._services.db.read(lambda s: signing_up.is_taken(s, address))
        return None if taken else address

    async def _ask(self, email: str, to: str | None) -> Response:
        """The same for every address, whoever has it."""
        mails = self._services.mails
        try:
            if len(email) > signing_up.LONGEST_ADDRESS:
                raise ValidationFailed([("/email", NO_ADDRESS)])
            address = names.email(email)
        except ValidationFailed:
            return self._page("ask", status=422, to=to, email=email, problem=NO_ADDRESS)
        locale = speech.get().language.tag
        await self._services.db.write_plain(
            lambda work: signing_up.ask(work, mails, address, locale)
        )
        return self._page("asked", to=to)

    async def _make(self, text: str, address: str, form: dict[str, str]) -> Response:
        username, password = form.get("username", "").strip(), form.get("password", "")
        least = self._services.settings.passwords.password_min_length
        wrong: dict[str, str] = {}
        try:
            username = names.username(username)
        except ValidationFailed:
            wrong["username"] = NO_NAME
        else:
            if signing_up.is_anothers(username, address):
                wrong["username"] = NOT_YOURS
        try:
            policy.check(password, username=username, email=address, least=least)
        except ValidationFailed as refusal:
            wrong["password"] = words(refusal.errors[0][1])
        if wrong:
            return self._choose(text, address, username, wrong, 422)
        try:
            await self._create(address, username, password)
        except TooManyRequests as locked:
            return self._choose(text, address, username, {"": LOCKED}, locked.status)
        except LockedDown as stopped:
            return self._choose(text, address, username, {"": STOPPED}, stopped.status)
        except Conflict:
            if await self._address(text) is None:  # the same link, a moment ago
                return self._dead()
            return self._choose(text, address, username, {"username": TAKEN}, 422)
        return self._page("made", username=username)

    async def _create(self, address: str, username: str, password: str) -> None:
        """That a username is taken is told as often as a login may fail, and no more."""
        services, locale = self._services, speech.get().language.tag
        asks = f"usernames taken\n{address.lower()}"
        with services.throttle.attempt(asks, audit.origin.get().address) as attempt:
            await attempt.check(services.db)
            hashed = await services.login.hash(username, password)

            def unit(session: Session) -> None:
                signing_up.create(session, address, username, hashed, locale)

            with attempt.turn():
                try:
                    await services.db.write(unit)
                    return
                except Conflict:
                    attempt.wrong = True
            await services.db.write_plain(attempt.failed)
            raise Conflict("the username is taken")

    # --- What is shown --------------------------------------------------------------------------

    def _choose(
        self, text: str, address: str, username: str = "", wrong: dict[str, str] | None = None,
        status: int = 200,
    ) -> Response:  # fmt: skip
        return self._page(
            "choose", status=status, scripts=[CONVENIENCES], token=text, address=address,
            username=username, errors=wrong or {},
            least=self._services.settings.passwords.password_min_length,
        )  # fmt: skip

    def _dead(self) -> Response:
        return self._page("dead", status=410)

    def _page(
        self, name: str, *, status: int = 200, to: str | None = None, **said: Any
    ) -> Response:
        base = self._rendering.base
        return self._rendering.page(
            f"sign_up/{name}.html", status=status, forms_stay=True,
            action=returning.with_to(f"{base}/sign-up", to),
            sign_in=returning.with_to(f"{base}/sign-in", to),
            request_id=audit.origin.get().request_id, **said,
        )  # fmt: skip


async def page(house: House) -> SignUp:
    return SignUp(house, await house.rendering())
