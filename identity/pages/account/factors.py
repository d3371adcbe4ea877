"""`/account/factors`: one's own second factors. Shown to whoever has just proved who they are."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar
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
from identity.pages.account.own import FINE, Errors, OwnPage
from identity.pages.by_passkey import SCRIPT
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Header
from identity.pages.words import _
from identity.service.interactions import Person
from identity.verifier.levels import meets

T = TypeVar("T")
WRONG_CODE = _("The code is wrong. Is the clock of your telephone right?")
BEGIN_AGAIN = _("That took too long. Begin once more.")


class FactorPage(OwnPage):
    """One that changes what its owner signs in with."""

    fresh = True

    async def change(self, person: Person, change: Callable[[Session, User], T]) -> T:
        """`person` has stepped up; what they have may have grown since. Raises `Conflict` then."""

        def unit(session: Session) -> T:
            user = accounts.get(session, person.user.id, lock=True)
            if user.second_factor != person.user.second_factor:
                raise Conflict("changed meanwhile")
            return change(session, user)

        return await self.services.db.write(unit)


class Factors(FactorPage):
    name = "factors"

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        party = self.services.passkeys.party

        def look(session: Session) -> tuple[User, Totp | None, list[Passkey], int]:
            user = accounts.get(session, person.user.id)
            left, _made = recovery.left(session, user.id)
            return user, totp.find(session, user.id), keeping.of_user(session, user.id), left

        user, app, passkeys, left = await self.services.db.read(look)
        return self.page(
            request,
            person,
            status=status,
            scripts=[SCRIPT] if party.possible else [],
            second_factor=user.second_factor,
            party=party,
            example=by_name(self.services.settings.issuer),
            passkeys=passkeys,
            keep=enrolling.to_keep(party, user, passkeys) if party.possible else None,
            since=app.confirmed_at if app else None,
            used=app.last_used_at if app else None,
            left=left,
            problem=errors.get(""),
        )

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        act = form.get("act")
        try:
            if act == "begin":
                begin = self.services.second_factor.begin_totp
                return self._enrolment(request, person, await self.change(person, begin))
            if act == "confirm":
                return await self._confirm(request, person, form.get("code", ""))
            if act == "codes":
                codes = await self.change(person, second_factor.renew_recovery)
                return self._codes(request, person, codes)
            if act == "remove":
                return self.page(request, person, "remove_totp", last=not person.user.passkey)
            if act == "removed":
                await self.change(person, second_factor.remove_totp)
        except NotFound:  # in another tab, a moment ago
            pass
        except Conflict:
            return await self.show(request, person, {"": BEGIN_AGAIN}, status=409)
        return self.back()

    async def _confirm(self, request: Request, person: Person, code: str) -> Response:
        """The browser session rises with it, and gets another name."""
        factors = self.services.second_factor

        def change(session: Session, user: User) -> tuple[list[str] | None, str]:
            codes = factors.confirm_totp(session, user, code)
            proof = BY_PASSWORD_AND_CODE
            if meets(person.session.acr, proof.acr):  # by a passkey, which is more
                proof = Proof(person.session.amr, person.session.acr)
            return codes, self.beginning.raised(session, request, user.id, proof, person)

        try:
            codes, cookie = await self.change(person, change)
        except ValidationFailed:
            waiting = await self.change(person, factors.waiting_totp)
            if waiting is None:
                return await self.show(request, person, {"": BEGIN_AGAIN}, status=409)
            return self._enrolment(request, person, waiting, WRONG_CODE)
        headers = [self.beginning.set(cookie)]
        if codes is None:
            return self.back(headers=headers)
        return self._codes(request, person, codes, headers)

    def _enrolment(
        self, request: Request, person: Person, enrolment: Enrolment, problem: str | None = None
    ) -> Response:
        key = enrolment.secret
        side, path = drawn(enrolment.uri)
        return self.page(
            request,
            person,
            "totp",
            status=422 if problem else 200,
            side=side,
            path=path,
            key=" ".join(key[at : at + 4] for at in range(0, len(key), 4)),
            problem=problem,
        )

    def _codes(
        self, request: Request, person: Person, codes: list[str], headers: Sequence[Header] = ()
    ) -> Response:
        return self.page(
            request, person, "recovery_codes", headers=headers, scripts=[CONVENIENCES], codes=codes
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
