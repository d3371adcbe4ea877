"""`/sign-in`: who are you? By password; then back to where somebody waits."""

from dataclasses import dataclass

from sqlmodel import Session

from identity.authentication import browser, changing
from identity.authentication.password import WRONG, Proven
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import (
    Forbidden,
    IdentityError,
    InvalidGrant,
    InvalidRequest,
    OAuthError,
    TooManyRequests,
    ValidationFailed,
)
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning
from identity.pages.registry import House
from identity.pages.rendering import Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person, Waiting
from identity.service.people import person_at
from identity.store import Work

PASSWORD = ["pwd"]
ACR = "aal1"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the page was asked for. `waiting`: the request that waits for it."""

    to: str | None
    waiting: Waiting | None

    @property
    def client_id(self) -> str | None:
        return self.waiting.client.id if self.waiting else None


class SigningIn:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._services = house.services
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        asked = await self._asked(request)
        waiting = asked.waiting
        if waiting is None:
            person = await person_at(self._services, request)
            if person is not None:
                return self._rendering.page("signed_in.html", username=person.user.username)
            return self._form(asked)
        if waiting.step in (None, "consent"):
            return see_other(asked.to or "")
        if waiting.step == "choose" and waiting.person is not None and waiting.marked:
            return self._choice(asked, waiting.client, waiting.person)
        known = waiting.person.user.username if waiting.person else None
        return self._form(asked, username=waiting.login_hint or known or "")

    async def post(self, request: Request) -> Response:
        form = await request.form()
        asked = await self._asked(request)
        if form.get("act") == "choose" and asked.waiting is not None:
            waiting = asked.waiting
            if waiting.step != "choose" or waiting.person is None or not waiting.marked:
                return see_other(asked.to or "")
            if form.get("user") != waiting.person.user.id:  # signed in meanwhile, in another tab
                return self._choice(asked, waiting.client, waiting.person)
            return see_other(self._house.authorizations.chosen(request, waiting))
        if form.get("act") == "another" and asked.waiting is not None:
            return self._form(asked)
        username, password = form.get("username", ""), form.get("password", "")
        try:
            if "new_password" in form or form.get("act") == "change":
                return await self._change(request, asked, form)
            proven = await self._services.login.prove(username, password)
        except (InvalidGrant, InvalidRequest):
            return self._form(asked, username=username, problem=WRONG_WORDS, status=422)
        except TooManyRequests as locked:
            return self._locked(asked, username, locked)
        if proven.user.must_change_password:
            return self._change_form(asked, username)
        before = await person_at(self._services, request)
        return await self._signed_in(request, asked, proven, before)

    # --- Steps ------------------------------------------------------------------------------

    async def _asked(self, request: Request) -> _Asked:
        to = returning.to(request.query, self._rendering.base)
        await self._services.feed.catch_up()
        if to is None:
            return _Asked(None, None)
        try:
            query = returning.query_of(to)
            return _Asked(to, await self._house.authorizations.look(request, query))
        except OAuthError:
            # `/authorize` says so in its own way, once somebody is back there.
            return _Asked(to, None)

    async def _signed_in(
        self, request: Request, asked: _Asked, proven: Proven, before: Person | None
    ) -> Response:
        services = self._services
        audit.act_as("user", proven.user.id)

        def unit(work: Work) -> str:
            services.login.settle(work, proven)
            return self._begin(work, request, asked, proven, before)

        try:
            if before is not None and before.user.id != proven.user.id:
                cookie = await services.db.write(unit)
            else:
                cookie = await services.db.write_plain(unit)
        except InvalidGrant:
            name = proven.user.username
            return self._form(asked, username=name, problem=WRONG_WORDS, status=422)
        services.metrics.login("success")
        return self._go_on(asked, cookie)

    def _begin(
        self,
        work: Work,
        request: Request,
        asked: _Asked,
        proven: Proven,
        before: Person | None,
    ) -> str:
        cookie = browser.sign_in(
            work,
            self._services.browser_lifetimes,
            user_id=proven.user.id,
            amr=PASSWORD,
            acr=ACR,
            before=before.session if before else None,
            user_agent=(request.header(b"user-agent") or b"").decode("latin-1") or None,
        )
        audit.record(work, "login", subject=proven.user.id, client_id=asked.client_id, by="browser")
        return cookie

    async def _change(self, request: Request, asked: _Asked, form: dict[str, str]) -> Response:
        username = form.get("username", "")
        before = await person_at(self._services, request)

        def begin(session: Session, proven: Proven) -> str:
            # All that the person had has just ended.
            other = before if before and before.user.id != proven.user.id else None
            return self._begin(session, request, asked, proven, other)

        try:
            cookie = await changing.change(
                self._services.login,
                username,
                form.get("password", ""),
                form.get("new_password", ""),
                begin,
            )
        except ValidationFailed as refusal:
            return self._change_form(asked, username, refusal.detail, new=True)
        except Forbidden:
            return self._change_form(asked, username, WRONG_WORDS)
        return self._go_on(asked, cookie)

    def _go_on(self, asked: _Asked, cookie: str) -> Response:
        lasting = int(self._services.browser_lifetimes.absolute.total_seconds())
        headers = [self._services.cookies.set(cookies.SESSION, cookie, lasting)]
        return see_other(asked.to or f"{self._rendering.base}/sign-in", headers)

    # --- What is shown ------------------------------------------------------------------------

    def _action(self, asked: _Asked) -> str:
        return returning.with_to(f"{self._rendering.base}/sign-in", asked.to)

    def _form(
        self, asked: _Asked, *, username: str = "", problem: str | None = None, status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Response:  # fmt: skip
        return self._rendering.page(
            "sign_in.html",
            status=status,
            headers=headers,
            client=asked.waiting.client if asked.waiting else None,
            username=username,
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=self._action(asked),
        )

    def _choice(self, asked: _Asked, client: ClientSnapshot, person: Person) -> Response:
        return self._rendering.page(
            "choose.html",
            client=client,
            username=person.user.username,
            user_id=person.user.id,
            action=self._action(asked),
        )

    def _locked(self, asked: _Asked, username: str, locked: IdentityError) -> Response:
        retry = locked.headers().get("Retry-After", "1")
        return self._form(
            asked,
            username=username,
            problem=_("Too many failed attempts. Wait a few minutes, then try again."),
            status=locked.status,
            headers=((b"retry-after", retry.encode()),),
        )

    def _change_form(
        self, asked: _Asked, username: str, problem: str | None = None, *, new: bool = False
    ) -> Response:
        return self._rendering.page(
            "change_password.html",
            status=422 if problem else 200,
            client=asked.waiting.client if asked.waiting else None,
            username=username,
            problem=problem,
            at_new=new,
            request_id=audit.origin.get().request_id,
            action=self._action(asked),
        )


WRONG_WORDS = _(WRONG[0].upper() + WRONG[1:] + ".")


async def page(house: House) -> SigningIn:
    return SigningIn(house, await house.rendering())
