"""`/sign-in`: who are you? By passkey (`by_passkey`), or by password, then by a second factor where
one is due (`code_step`); then back to where somebody waits."""

from collections.abc import Iterable

from sqlmodel import Session

from identity.authentication import changing
from identity.authentication.levels import BY_PASSWORD
from identity.authentication.passkeys.errors import PasskeyRefused, UnknownPasskey
from identity.authentication.password import Proven, due
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import (
    Forbidden,
    IdentityError,
    InvalidGrant,
    InvalidRequest,
    LockedDown,
    TooManyRequests,
    ValidationFailed,
)
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning
from identity.pages.beginning import Asked, Beginning, stepped_up
from identity.pages.by_passkey import SCRIPT, ByPasskey, words_of
from identity.pages.code_step import CodeStep, TooLate
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at
from identity.store import Work

WRONG_WORDS = _("The username or password is wrong.")
AGAIN = "again"
"""A parameter of a page that wants whoever is signed in to prove again who they are."""
LOCKED = _("Too many failed attempts. Wait a few minutes, then try again.")
STOPPED = _("Nobody can sign in at the moment. Try again later.")
TOO_LATE = _("That took too long. Sign in once more.")


class SigningIn:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._services = house.services
        self._rendering = rendering
        self._beginning = Beginning(house, rendering.base)
        self._code_step = CodeStep(house, rendering, self._beginning)
        self._by_passkey = ByPasskey(house, self._beginning)

    async def get(self, request: Request) -> Response:
        asked = await self._beginning.asked(request)
        waiting = asked.waiting
        if waiting is None:
            return await self._get_alone(request, asked)
        if waiting.step in (None, "consent"):
            return see_other(asked.to or "")
        if waiting.step == "choose" and waiting.person is not None and waiting.marked:
            return self._choice(asked, waiting.client, waiting.person)
        known = waiting.person.user.username if waiting.person else None
        return self._form(request, asked, username=waiting.login_hint or known or "")

    async def _get_alone(self, request: Request, asked: Asked) -> Response:
        """No request waits that this could lead back to."""
        person = await person_at(self._services, request)
        if person is None:
            return self._form(request, asked)
        if asked.to is None:
            return see_other(f"{self._rendering.base}/account")
        base, again = self._rendering.base, AGAIN in request.query
        if returning.is_account(asked.to, base) or (again and returning.is_console(asked.to, base)):
            if stepped_up(person):
                return see_other(asked.to)
        elif not again:
            return see_other(asked.to)
        return self._form(request, asked, username=person.user.username, again=True)

    async def post(self, request: Request) -> Response:
        form = await request.form()
        asked = await self._beginning.asked(request)
        if form.get("act") == "choose" and asked.waiting is not None:
            waiting = asked.waiting
            if waiting.step != "choose" or waiting.person is None or not waiting.marked:
                return see_other(asked.to or "")
            if form.get("user") != waiting.person.user.id:  # signed in meanwhile, in another tab
                return self._choice(asked, waiting.client, waiting.person)
            return see_other(self._house.authorizations.chosen(request, waiting))
        username, password = form.get("username", ""), form.get("password", "")
        try:
            if "proof" in form:
                return await self._code_step.post(request, asked, form)
            if "credential" in form:
                return await self._by_passkey.post(request, asked, form["credential"])
            if form.get("act") == "another" and asked.waiting is not None:
                return self._form(request, asked)
            if "new_password" in form or form.get("act") == "change":
                return await self._change(request, asked, form)
            proven = await self._services.login.prove(username, password)
            still_due = due(proven.user)
            if still_due == "new password":
                return self._change_form(asked, username)
            if still_due == "second factor":
                return await self._half_signed_in(request, asked, proven, username)
            return await self._signed_in(request, asked, proven)
        except PasskeyRefused as refusal:
            unknown = refusal.credential_id if isinstance(refusal, UnknownPasskey) else None
            return self._form(
                request, asked, problem=words_of(refusal), status=422, autofill=False,
                unknown=unknown,
            )  # fmt: skip
        except TooLate:
            return self._form(request, asked, username=username, problem=TOO_LATE, status=422)
        except (InvalidGrant, InvalidRequest):
            return self._form(request, asked, username=username, problem=WRONG_WORDS, status=422)
        except LockedDown as stopped:
            return self._waits(request, asked, username, stopped, STOPPED)
        except TooManyRequests as locked:
            return self._waits(request, asked, username, locked, LOCKED)

    # --- Steps ------------------------------------------------------------------------------

    async def _signed_in(self, request: Request, asked: Asked, proven: Proven) -> Response:
        services, user = self._services, proven.user
        before = await person_at(services, request)
        audit.act_as("user", user.id)

        def unit(work: Work) -> tuple[str, bool]:
            services.login.settle(work, proven)
            cookie = self._beginning.begin(work, request, asked, user.id, BY_PASSWORD, before)
            return cookie, self._beginning.offers(work, asked, user.id, before)

        if before is not None and before.user.id != user.id:
            cookie, offer = await services.db.write(unit)
        else:
            cookie, offer = await services.db.write_plain(unit)
        services.metrics.login("success")
        return self._beginning.go_on(asked, cookie, offer=offer)

    async def _half_signed_in(
        self, request: Request, asked: Asked, proven: Proven, username: str
    ) -> Response:
        user, services = proven.user, self._services
        if proven.better_hash is not None:  # else it would be computed at each sign-in
            await services.db.write_plain(lambda work: services.login.settle(work, proven))
            user = user._replace(password_hash=proven.better_hash)
        return await self._code_step.ask(request, asked, user, username)

    async def _change(self, request: Request, asked: Asked, form: dict[str, str]) -> Response:
        username = form.get("username", "")
        before = await person_at(self._services, request)

        def begin(session: Session, proven: Proven) -> tuple[str, bool] | None:
            user_id = proven.user.id
            if proven.user.second_factor:
                return None
            # All that the person had has just ended.
            other = before if before and before.user.id != user_id else None
            cookie = self._beginning.begin(session, request, asked, user_id, BY_PASSWORD, other)
            return cookie, self._beginning.offers(session, asked, user_id, other)

        try:
            begun = await changing.change(
                self._services.login,
                username,
                form.get("password", ""),
                form.get("new_password", ""),
                begin,
                alone=self._services.settings.passwords.password_min_length,
            )
        except ValidationFailed as refusal:
            return self._change_form(asked, username, words(refusal.errors[0][1]), new=True)
        except Forbidden:
            return self._change_form(asked, username, WRONG_WORDS)
        if begun is not None:
            cookie, offer = begun
            return self._beginning.go_on(asked, cookie, offer=offer)
        account = await self._services.login.find(username)
        if account is None:
            raise TooLate
        return await self._code_step.ask(request, asked, account, username)

    # --- What is shown ------------------------------------------------------------------------

    def _form(
        self, request: Request, asked: Asked, *, username: str = "", problem: str | None = None,
        status: int = 200, headers: Iterable[Header] = (), again: bool = False,
        autofill: bool = True, unknown: str | None = None,
    ) -> Response:  # fmt: skip
        """`again`: somebody is signed in, and what they are about to do takes a fresh proof.
        `autofill`: whether a passkey may come from what the browser fills in, not from the button
        alone. `unknown`: one that was shown, and is nobody's here."""
        options, more = self._by_passkey.offered(request)
        return self._rendering.page(
            "sign_in.html",
            status=status,
            headers=[*headers, *more],
            scripts=[SCRIPT, CONVENIENCES] if options else [CONVENIENCES],
            client=asked.waiting.client if asked.waiting else None,
            username=username,
            problem=problem,
            again=again,
            autofill=autofill,
            options=options,
            unknown=unknown,
            request_id=audit.origin.get().request_id,
            action=asked.action,
            making=returning.with_to(f"{self._rendering.base}/sign-up", asked.to),
        )

    def _choice(self, asked: Asked, client: ClientSnapshot, person: Person) -> Response:
        return self._rendering.page(
            "choose.html",
            client=client,
            username=person.user.username,
            user_id=person.user.id,
            action=asked.action,
        )

    def _waits(
        self, request: Request, asked: Asked, username: str, refusal: IdentityError, problem: str
    ) -> Response:
        retry = refusal.headers().get("Retry-After", "1")
        return self._form(
            request,
            asked,
            username=username,
            problem=problem,
            status=refusal.status,
            headers=((b"retry-after", retry.encode()),),
        )

    def _change_form(
        self, asked: Asked, username: str, problem: str | None = None, *, new: bool = False
    ) -> Response:
        return self._rendering.page(
            "change_password.html",
            scripts=[CONVENIENCES],
            status=422 if problem else 200,
            client=asked.waiting.client if asked.waiting else None,
            username=username,
            problem=problem,
            at_new=new,
            request_id=audit.origin.get().request_id,
            action=asked.action,
        )


async def page(house: House) -> SigningIn:
    return SigningIn(house, await house.rendering())
