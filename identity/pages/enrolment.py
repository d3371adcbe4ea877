"""`/enrolment`: whoever has lost every second factor and was given a link sets up a new one.

GET looks, POST uses: the link and the password together become a ticket, which this page's forms
carry from step to step, in this browser. With it one factor is set up, and nothing else done; then
whoever has proved both is signed in.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlmodel import Session

from identity.authentication import enrolment
from identity.authentication.levels import BY_PASSWORD_AND_CODE, Proof, by_passkey
from identity.authentication.passkeys import enrolling, keeping
from identity.authentication.passkeys.ceremonies import Options
from identity.authentication.passkeys.errors import PasskeyRefused, StaleChallenge
from identity.authentication.password import Proven
from identity.authentication.totp import Enrolment
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import (
    Conflict,
    IdentityError,
    InvalidGrant,
    InvalidRequest,
    LockedDown,
    NotFound,
    TooManyRequests,
    ValidationFailed,
)
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.pages.account.factors import WRONG_CODE, drawn
from identity.pages.account.passkeys import A_NAME, NOT_MADE, THERE
from identity.pages.beginning import Asked, Beginning
from identity.pages.by_passkey import LATE, SCRIPT
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Header, Rendering
from identity.pages.signing_in import LOCKED, STOPPED
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at

WRONG_PASSWORD = _("The password is wrong.")


class Step(NamedTuple):
    """Of whoever has given link and password, in this browser."""

    ticket: str
    browser: str
    user: User


class EnrolmentPage:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._services = house.services
        self._rendering = rendering
        self._beginning = Beginning(house, rendering.base)
        self._action = f"{rendering.base}{enrolment.PAGE}"

    async def get(self, request: Request) -> Response:
        token = request.query.get("token", "")
        user = await self._services.db.read(lambda s: enrolment.good(s, token))
        return self._dead() if user is None else self._ask(user, token)

    async def post(self, request: Request) -> Response:
        form = await request.form()
        await self._services.feed.catch_up()
        if "ticket" not in form:
            return await self._redeem(request, form.get("token", ""), form.get("password", ""))
        step = await self._step(request, form["ticket"])
        if step is None:
            return self._dead()
        act = form.get("act")
        try:
            if act == "totp":
                return await self._begin_app(step)
            if act == "confirm":
                return await self._confirm_app(request, step, form.get("code", ""))
            if act == "passkey":
                return await self._add_passkey(request, step, form)
        except NotFound:  # used up in another tab, a moment ago
            return self._dead()
        return await self._choose(step)

    # --- The link -------------------------------------------------------------------------------

    async def _redeem(self, request: Request, token: str, password: str) -> Response:
        services = self._services
        user = await services.db.read(lambda s: enrolment.good(s, token))
        if user is None:
            return self._dead()
        try:
            proven = await services.login.prove(user.username, password)
        except (InvalidGrant, InvalidRequest):
            return self._ask(user, token, WRONG_PASSWORD, 422)
        except LockedDown as stopped:
            return self._ask_later(user, token, STOPPED, stopped)
        except TooManyRequests as locked:
            return self._ask_later(user, token, LOCKED, locked)
        if proven.user.id != user.id:  # renamed, and the name taken by another, a moment ago
            return self._dead()
        browser, headers = self._beginning.browser(request)
        audit.act_as("user", user.id)
        ticket = await self._ticket(proven, token, browser)
        if ticket is None:
            return self._dead()
        return await self._choose(Step(ticket, browser, user), headers=headers)

    async def _ticket(self, proven: Proven, token: str, browser: str) -> str | None:
        def unit(session: Session) -> str | None:
            self._services.login.settle(session, proven)
            return enrolment.redeem(session, token, proven.user.id, browser)

        try:
            return await self._services.db.write(unit)
        except InvalidGrant:  # disabled, or another password, a moment ago
            return None

    async def _step(self, request: Request, ticket: str) -> Step | None:
        browser = self._services.cookies.read(request, cookies.BROWSER)
        if browser is None:
            return None
        user = await self._services.db.read(lambda s: enrolment.holder(s, ticket, browser))
        if user is None:
            return None
        audit.act_as("user", user.id)
        return Step(ticket, browser, user)

    # --- What is set up -------------------------------------------------------------------------

    async def _begin_app(self, step: Step) -> Response:
        def unit(session: Session) -> Enrolment:
            user = accounts.get(session, step.user.id, lock=True)
            if enrolment.holder(session, step.ticket, step.browser) is None:
                raise NotFound
            return self._services.second_factor.begin_totp(session, user)

        return self._app(step, await self._services.db.write(unit))

    async def _confirm_app(self, request: Request, step: Step, code: str) -> Response:
        factors = self._services.second_factor
        before = await person_at(self._services, request)
        audit.act_as("user", step.user.id)

        def unit(session: Session) -> tuple[list[str], str | None]:
            user = accounts.get(session, step.user.id, lock=True)
            enrolment.complete(session, step.ticket, step.browser, user, keep_app=True)
            codes = factors.confirm_totp(session, user, code) or []
            return codes, self._sign_in(session, request, user, BY_PASSWORD_AND_CODE, before)

        try:
            codes, cookie = await self._services.db.write(unit)
        except Conflict:  # its secret has waited for too long
            return await self._choose(step, problem=LATE)
        except ValidationFailed:
            waiting = await self._services.db.read(
                lambda session: factors.waiting_totp(session, step.user)
            )
            if waiting is None:
                return await self._choose(step, problem=LATE)
            return self._app(step, waiting, WRONG_CODE)
        return self._done(step.user, codes, cookie)

    async def _add_passkey(self, request: Request, step: Step, form: dict[str, str]) -> Response:
        services, name = self._services, form.get("name", "")
        before = await person_at(services, request)
        audit.act_as("user", step.user.id)
        try:
            name = keeping.checked_name(name)
            made = await enrolling.made(services.passkeys, form.get("credential", ""), step.user.id)
            proof = by_passkey(in_one_device=not made.backup_eligible, password=True)

            def unit(session: Session) -> tuple[list[str], str | None]:
                user = accounts.get(session, step.user.id, lock=True)
                enrolment.complete(session, step.ticket, step.browser, user, keep_app=False)
                _passkey, codes = services.second_factor.add_passkey(session, user, made, name)
                return codes or [], self._sign_in(session, request, user, proof, before)

            codes, cookie = await services.db.write(unit)
        except PasskeyRefused as refusal:
            services.queue.refused(
                "factor.added", {"why": str(refusal.audit)}, subject=step.user.id
            )
            late = isinstance(refusal, StaleChallenge)
            return await self._choose(step, problem=LATE if late else NOT_MADE, name=name)
        except ValidationFailed:
            return await self._choose(step, problem=A_NAME, name=name)
        except Conflict:
            return await self._choose(step, problem=THERE, name=name)
        return self._done(step.user, codes, cookie)

    def _sign_in(
        self, session: Session, request: Request, user: User, proof: Proof, before: Person | None
    ) -> str | None:
        """The cookie; None of whoever has to choose a new password first."""
        if user.must_change_password:
            return None
        ended = before if before and before.user.id != user.id else None  # their own just has
        return self._beginning.begin(
            session, request, Asked(None, None, self._action), user.id, proof, ended
        )

    # --- What is shown --------------------------------------------------------------------------

    def _ask(
        self, user: User, token: str, problem: str | None = None, status: int = 200,
        headers: tuple[Header, ...] = (),
    ) -> Response:  # fmt: skip
        return self._page(
            "ask", status=status, headers=headers, scripts=[CONVENIENCES], token=token,
            username=user.username, problem=problem,
        )  # fmt: skip

    def _ask_later(self, user: User, token: str, words: str, refusal: IdentityError) -> Response:
        retry = refusal.headers().get("Retry-After", "1")
        headers = ((b"retry-after", retry.encode()),)
        return self._ask(user, token, words, refusal.status, headers)

    async def _choose(
        self, step: Step, *, problem: str | None = None, name: str = "",
        headers: list[Header] | None = None,
    ) -> Response:  # fmt: skip
        party, options = self._services.passkeys.party, None
        if party.possible:
            options = await self._services.db.read(lambda s: self._options(s, step.user))
        return self._page(
            "choose", status=422 if problem else 200, headers=headers or (), ticket=step.ticket,
            username=step.user.username, party=party, options=options, name=name, problem=problem,
            scripts=[SCRIPT] if options else [],
        )  # fmt: skip

    def _options(self, session: Session, user: User) -> Options | None:
        try:
            return enrolling.ask(self._services.passkeys, session, user)
        except Conflict:  # as many are lost as one may have: the app is another way
            return None

    def _app(self, step: Step, waits: Enrolment, problem: str | None = None) -> Response:
        side, path = drawn(waits.uri)
        key = " ".join(waits.secret[at : at + 4] for at in range(0, len(waits.secret), 4))
        return self._page(
            "app", status=422 if problem else 200, ticket=step.ticket, side=side, path=path,
            key=key, problem=problem,
        )  # fmt: skip

    def _done(self, user: User, codes: list[str], cookie: str | None) -> Response:
        self._services.metrics.login("success")
        headers = [self._beginning.set(cookie)] if cookie is not None else []
        on = "/account" if cookie is not None else "/sign-in"
        return self._page(
            "done", headers=headers, codes=codes, on=f"{self._rendering.base}{on}",
            username=user.username, scripts=[CONVENIENCES],
        )  # fmt: skip

    def _dead(self) -> Response:
        return self._page("dead", status=410)

    def _page(
        self, template: str, /, *, status: int = 200, headers: Any = (),
        scripts: Sequence[str] = (), **said: Any,
    ) -> Response:  # fmt: skip
        return self._rendering.page(
            f"enrolment/{template}.html", status=status, headers=headers, scripts=scripts,
            forms_stay=True, action=self._action, request_id=audit.origin.get().request_id, **said,
        )  # fmt: skip


async def page(house: House) -> EnrolmentPage:
    return EnrolmentPage(house, await house.rendering())
