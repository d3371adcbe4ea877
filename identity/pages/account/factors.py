"""`/account/factors`: one's own second factors. Shown to whoever has just proved who they are."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import urlsplit

import segno
from sqlmodel import Session

from identity.authentication import recovery, second_factor, totp
from identity.authentication.levels import BY_PASSWORD_AND_CODE, Proof
from identity.authentication.passkeys import enrolling, keeping
from identity.authentication.passkeys.table import Passkey
from identity.authentication.totp import Enrolment, Totp
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import fresh, returning
from identity.pages.account.own import ALONE, SOMEBODY_ELSE
from identity.pages.beginning import Beginning, stepped_up
from identity.pages.by_passkey import SCRIPT
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at
from identity.verifier.levels import meets

T = TypeVar("T")
WRONG_CODE = _("The code is wrong. Is the clock of your telephone right?")
BEGIN_AGAIN = _("That took too long. Begin once more.")


class Factors:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._services = house.services
        self._rendering = rendering
        self._beginning = Beginning(house, rendering.base)
        self._here = f"{rendering.base}/account/factors"
        self._example = by_name(house.services.settings.issuer)

    async def get(self, request: Request) -> Response:
        person = await self._person(request)
        if person is None:
            return self._to_sign_in()
        return await self._overview(person)

    async def post(self, request: Request) -> Response:
        form = await request.form()
        person = await self._person(request)
        if person is None:
            return self._to_sign_in()
        if form.get("user") != person.user.id:
            return await self._overview(person, SOMEBODY_ELSE)
        act = form.get("act")
        try:
            if act == "begin":
                begin = self._services.second_factor.begin_totp
                return self._enrolment(person, await self._change(person, begin))
            if act == "confirm":
                return await self._confirm(request, person, form.get("code", ""))
            if act == "codes":
                renew = second_factor.renew_recovery
                codes = await self._change(person, renew)
                return self._page(person, "recovery_codes", scripts=[CONVENIENCES], codes=codes)
            if act == "remove":
                return self._page(person, "remove_totp", last=not person.user.passkey)
            if act == "removed":
                await self._change(person, second_factor.remove_totp)
        except NotFound:  # in another tab, a moment ago
            pass
        except Conflict:
            return await self._overview(person, BEGIN_AGAIN)
        return see_other(self._here)

    # --- Steps ------------------------------------------------------------------------------

    async def _person(self, request: Request) -> Person | None:
        """Who sits there, if they have just proved it."""
        await fresh.catch_up(self._services, request)
        person = await person_at(self._services, request)
        return person if person is not None and stepped_up(person) else None

    def _to_sign_in(self) -> Response:
        return see_other(returning.with_to(f"{self._rendering.base}/sign-in", self._here))

    async def _change(self, person: Person, change: Callable[[Session, User], T]) -> T:
        """`person` has stepped up; what they have may have grown since."""

        def unit(session: Session) -> T:
            user = accounts.get(session, person.user.id, lock=True)
            if user.second_factor != person.user.second_factor:
                raise Conflict("changed meanwhile")
            return change(session, user)

        return await self._services.db.write(unit)

    async def _confirm(self, request: Request, person: Person, code: str) -> Response:
        """The browser session rises with it, and gets another name."""
        factors = self._services.second_factor

        def change(session: Session, user: User) -> tuple[list[str] | None, str]:
            codes = factors.confirm_totp(session, user, code)
            proof = BY_PASSWORD_AND_CODE
            if meets(person.session.acr, proof.acr):  # by a passkey, which is more
                proof = Proof(person.session.amr, person.session.acr)
            return codes, self._beginning.raised(session, request, user.id, proof, person)

        try:
            codes, cookie = await self._change(person, change)
        except ValidationFailed:
            waiting = await self._change(person, factors.waiting_totp)
            if waiting is None:
                return await self._overview(person, BEGIN_AGAIN)
            return self._enrolment(person, waiting, WRONG_CODE)
        headers = [self._beginning.set(cookie)]
        if codes is None:
            return see_other(self._here, headers)
        return self._page(
            person, "recovery_codes", headers=headers, scripts=[CONVENIENCES], codes=codes
        )

    # --- What is shown ------------------------------------------------------------------------

    async def _overview(self, person: Person, problem: str | None = None) -> Response:
        party = self._services.passkeys.party

        def look(session: Session) -> tuple[User, Totp | None, list[Passkey], int]:
            user = accounts.get(session, person.user.id)
            left, _made = recovery.left(session, user.id)
            return user, totp.find(session, user.id), keeping.of_user(session, user.id), left

        user, app, passkeys, left = await self._services.db.read(look)
        return self._page(
            person,
            "factors",
            status=409 if problem else 200,
            scripts=[SCRIPT] if party.possible else [],
            second_factor=user.second_factor,
            party=party,
            example=self._example,
            passkeys=passkeys,
            keep=enrolling.to_keep(party, user, passkeys) if party.possible else None,
            since=app.confirmed_at if app else None,
            used=app.last_used_at if app else None,
            left=left,
            problem=problem,
        )

    def _enrolment(
        self, person: Person, enrolment: Enrolment, problem: str | None = None
    ) -> Response:
        key = enrolment.secret
        side, path = drawn(enrolment.uri)
        return self._page(
            person,
            "totp",
            status=422 if problem else 200,
            side=side,
            path=path,
            key=" ".join(key[at : at + 4] for at in range(0, len(key), 4)),
            problem=problem,
        )

    def _page(
        self,
        person: Person,
        name: str,
        *,
        status: int = 200,
        headers: list[Header] | None = None,
        scripts: Sequence[str] = (),
        **said: Any,
    ) -> Response:
        return self._rendering.page(
            f"account/{name}.html",
            status=status,
            scripts=scripts,
            headers=[*(headers or ()), ALONE],
            forms_stay=True,
            here="factors",
            action=self._here,
            username=person.user.username,
            user_id=person.user.id,
            request_id=audit.origin.get().request_id,
            **said,
        )


def by_name(issuer: str) -> str:
    """The same port under a name that every machine has for itself."""
    port = urlsplit(issuer).port
    return "http://localhost" + (f":{port}" if port else "")


def drawn(text: str) -> tuple[int, str]:
    """A QR code: how many squares a side has, and its dark ones as the path of an SVG."""
    rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix_iter(border=4)]
    runs = []
    for y, row in enumerate(rows):
        x = 0
        for dark, squares in groupby(row):
            width = len(list(squares))
            if dark:
                runs.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    return len(rows), "".join(runs)


async def page(house: House) -> Factors:
    return Factors(house, await house.rendering())
