"""The second step of `/sign-in`: a passkey or a code, from whoever has given the right password and
has a second factor. Until it has come nobody is signed in (`authentication.halfway`)."""

from collections.abc import Callable
from typing import NamedTuple

from identity.authentication.levels import BY_PASSWORD_AND_CODE, Proof
from identity.authentication.passkeys.errors import PasskeyRefused
from identity.authentication.password import LONGEST, Account
from identity.authentication.second_factor import Kind, WrongCode
from identity.errors import TooManyRequests
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.pages.beginning import Asked, Beginning
from identity.pages.by_passkey import SCRIPT, words_of
from identity.pages.registry import House
from identity.pages.rendering import Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.people import person_at
from identity.store import Work

WRONG_CODE = _("The code is wrong, or has been used.")
LOCKED = _("Too many wrong codes. Wait a while, or use a recovery code.")


class TooLate(Exception):
    """Nobody has lately given the right password here."""


class Step(NamedTuple):
    """The page, as this browser has it."""

    asked: Asked
    account: Account
    login: str
    seal: str
    browser: str
    kinds: list[Kind]


class CodeStep:
    def __init__(self, house: House, rendering: Rendering, beginning: Beginning) -> None:
        self._services = house.services
        self._rendering = rendering
        self._beginning = beginning

    async def ask(self, request: Request, asked: Asked, account: Account, login: str) -> Response:
        """For the second factor of whoever has just given the password of `account` under this
        name. Raises `TooLate` where they owe none any more."""
        browser, headers = self._beginning.browser(request)
        seal = self._services.halfway.seal(account, login, browser)
        kinds = await self._kinds(account)
        step = Step(asked, account, login, seal, browser, kinds)
        return await self._page(step, kinds[0], headers=headers)

    async def post(self, request: Request, asked: Asked, form: dict[str, str]) -> Response:
        """Raises `TooLate`, and `InvalidGrant` where the password has changed meanwhile."""
        step = await self._step(request, asked, form)
        kinds = step.kinds
        kind = next((each for each in kinds if each == form.get("kind")), kinds[0])
        if form.get("act") == "another":
            kind = kinds[(kinds.index(kind) + 1) % len(kinds)]
            return await self._page(step, kind)
        try:
            if kind == "passkey":
                cookie = await self._by_passkey(request, step, form.get("credential", ""))
            else:
                cookie = await self._by_code(request, step, form.get("code", ""))
        except WrongCode:
            return await self._page(step, kind, problem=WRONG_CODE, status=422)
        except PasskeyRefused as refusal:
            step = await self._step(request, asked, form)  # it may have been the last
            kind = kind if kind in step.kinds else step.kinds[0]
            return await self._page(step, kind, problem=words_of(refusal), status=422)
        except TooManyRequests as locked:
            retry = (b"retry-after", str(locked.retry_after).encode())
            return await self._page(
                step, kind, problem=LOCKED, status=locked.status, headers=[retry]
            )
        self._services.metrics.login("success")
        return self._beginning.go_on(asked, cookie)

    async def _step(self, request: Request, asked: Asked, form: dict[str, str]) -> Step:
        """Whose password has just been given."""
        login, seal = form.get("username", ""), form.get("proof", "")
        account = await self._services.login.find(login) if 0 < len(login) <= LONGEST else None
        browser = self._services.cookies.read(request, cookies.BROWSER)
        if (
            account is None
            or browser is None
            or not self._services.halfway.holds(seal, account, login, browser)
            or account.status != "active"
            or account.must_change_password
            or not account.second_factor
        ):
            raise TooLate
        return Step(asked, account, login, seal, browser, await self._kinds(account))

    async def _kinds(self, account: Account) -> list[Kind]:
        kinds = await self._services.second_factor.kinds(account.id)
        if not kinds:  # taken away a moment ago
            raise TooLate
        return kinds

    async def _by_code(self, request: Request, step: Step, code: str) -> str:
        prove = self._services.second_factor.prove
        return await self._prove(
            request, step, BY_PASSWORD_AND_CODE, lambda work: prove(work, step.account.id, code)
        )

    async def _by_passkey(self, request: Request, step: Step, credential: str) -> str:
        services, user_id = self._services, step.account.id
        with services.second_factor.refusals_noted(user_id, step.asked.client_id):
            shown = await services.passkeys.show(credential, step.browser, user_id)
        return await self._prove(
            request, step, shown.proof(password=True),
            lambda work: services.passkeys.settle(work, shown),
        )  # fmt: skip

    async def _prove(
        self, request: Request, step: Step, proof: Proof, take: Callable[[Work], object]
    ) -> str:
        """`take`: the second factor, or raise. The cookie."""
        services, account = self._services, step.account
        before = await person_at(services, request)
        audit.act_as("user", account.id)
        proven = services.login.given_before(account, step.login)

        def unit(work: Work) -> str:
            services.login.admit(work, account)  # or the factor would be spent for nothing
            take(work)
            services.login.settle(work, proven)
            return self._beginning.begin(work, request, step.asked, account.id, proof, before)

        with services.second_factor.refusals_noted(account.id, step.asked.client_id):
            if before is not None and before.user.id != account.id:
                return await services.db.write(unit)
            return await services.db.write_plain(unit)

    async def _page(
        self,
        step: Step,
        kind: Kind,
        *,
        problem: str | None = None,
        status: int = 200,
        headers: list[Header] | None = None,
    ) -> Response:
        options = None
        if kind == "passkey":
            options = await self._services.passkeys.ask_of(step.browser, step.account.id)
        kinds = step.kinds
        return self._rendering.page(
            "second_factor.html",
            status=status,
            headers=headers or (),
            scripts=[SCRIPT] if options else [],
            client=step.asked.waiting.client if step.asked.waiting else None,
            username=step.login,
            proof=step.seal,
            kind=kind,
            another=kinds[(kinds.index(kind) + 1) % len(kinds)] if len(kinds) > 1 else None,
            options=options,
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=step.asked.action,
        )
