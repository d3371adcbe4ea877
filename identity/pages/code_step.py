"""The second step of `/sign-in`: a code, from whoever has given the right password and has a second
factor. Until it has come nobody is signed in (`authentication.halfway`)."""

from identity.authentication.levels import BY_PASSWORD_AND_CODE
from identity.authentication.password import LONGEST, Account
from identity.authentication.second_factor import Kind, WrongCode
from identity.errors import TooManyRequests
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.opaque import mint
from identity.pages.beginning import Asked, Beginning
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


class CodeStep:
    def __init__(self, house: House, rendering: Rendering, beginning: Beginning) -> None:
        self._services = house.services
        self._rendering = rendering
        self._beginning = beginning

    async def ask(self, request: Request, asked: Asked, account: Account, login: str) -> Response:
        """For the code of whoever has just given the password of `account` under this name. Raises
        `TooLate` where they owe none any more."""
        jar, headers = self._services.cookies, list[Header]()
        browser = jar.read(request, cookies.BROWSER)
        if browser is None:
            browser = mint("br")
            headers.append(jar.set(cookies.BROWSER, browser))
        seal = self._services.halfway.seal(account, login, browser)
        kinds = await self._kinds(account)
        return self._page(asked, login, seal, kinds, kinds[0], headers=headers)

    async def post(self, request: Request, asked: Asked, form: dict[str, str]) -> Response:
        """Raises `TooLate`, and `InvalidGrant` where the password has changed meanwhile."""
        login, seal = form.get("username", ""), form.get("proof", "")
        account = await self._account(request, login, seal)
        kinds = await self._kinds(account)
        kind = next((each for each in kinds if each == form.get("kind")), kinds[0])
        if form.get("act") == "another":
            kind = kinds[(kinds.index(kind) + 1) % len(kinds)]
            return self._page(asked, login, seal, kinds, kind)
        try:
            cookie = await self._prove(request, asked, account, login, form.get("code", ""))
        except WrongCode:
            return self._page(asked, login, seal, kinds, kind, problem=WRONG_CODE, status=422)
        except TooManyRequests as locked:
            retry = (b"retry-after", str(locked.retry_after).encode())
            return self._page(
                asked, login, seal, kinds, kind,
                problem=LOCKED, status=locked.status, headers=[retry],
            )  # fmt: skip
        self._services.metrics.login("success")
        return self._beginning.go_on(asked, cookie)

    async def _account(self, request: Request, login: str, seal: str) -> Account:
        """Whose password has just been given."""
        account = await self._services.login.find(login) if 0 < len(login) <= LONGEST else None
        browser = self._services.cookies.read(request, cookies.BROWSER)
        if (
            account is None
            or not self._services.halfway.holds(seal, account, login, browser)
            or account.status != "active"
            or account.must_change_password
            or not account.second_factor
        ):
            raise TooLate
        return account

    async def _kinds(self, account: Account) -> list[Kind]:
        kinds = await self._services.second_factor.kinds(account.id)
        if not kinds:  # taken away a moment ago
            raise TooLate
        return kinds

    async def _prove(
        self, request: Request, asked: Asked, account: Account, login: str, code: str
    ) -> str:
        services = self._services
        before = await person_at(services, request)
        audit.act_as("user", account.id)
        proven = services.login.given_before(account, login)

        def unit(work: Work) -> str:
            services.second_factor.prove(work, account.id, code)
            services.login.settle(work, proven)
            return self._beginning.begin(
                work, request, asked, account.id, BY_PASSWORD_AND_CODE, before
            )

        with services.second_factor.refusals_noted(account.id, asked.client_id):
            if before is not None and before.user.id != account.id:
                return await services.db.write(unit)
            return await services.db.write_plain(unit)

    def _page(
        self,
        asked: Asked,
        login: str,
        seal: str,
        kinds: list[Kind],
        kind: Kind,
        *,
        problem: str | None = None,
        status: int = 200,
        headers: list[Header] | None = None,
    ) -> Response:
        return self._rendering.page(
            "second_factor.html",
            status=status,
            headers=headers or (),
            client=asked.waiting.client if asked.waiting else None,
            username=login,
            proof=seal,
            kind=kind,
            another=len(kinds) > 1,
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=asked.action,
        )
