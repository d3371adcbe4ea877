"""`/account/passkeys`: adding, naming and removing one's own. `/account/factors` lists them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlmodel import Session

from identity.authentication import second_factor
from identity.authentication.levels import by_passkey
from identity.authentication.passkeys import enrolling, keeping
from identity.authentication.passkeys.ceremonies import Made, Options
from identity.authentication.passkeys.errors import PasskeyRefused, StaleChallenge
from identity.authentication.passkeys.table import Passkey
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import fresh, returning
from identity.pages.account.factors import by_name
from identity.pages.account.own import ALONE, SOMEBODY_ELSE
from identity.pages.beginning import Beginning, stepped_up
from identity.pages.by_passkey import LATE, SCRIPT
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at

T = TypeVar("T")
NOT_MADE = _("The passkey could not be added. Try again.")
THERE = _("This passkey has been added already, or there are twenty, the most that one may have.")
A_NAME = _("The name has to be 1 to 100 characters that can be shown.")


class OwnPasskeys:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._services = house.services
        self._rendering = rendering
        self._beginning = Beginning(house, rendering.base)
        self._here = f"{rendering.base}/account/passkeys"
        self._overview = f"{rendering.base}/account/factors"

    async def get(self, request: Request) -> Response:
        person = await self._person(request)
        return await self._adding(person) if person else self._to_sign_in()

    async def post(self, request: Request) -> Response:
        form = await request.form()
        person = await self._person(request)
        if person is None:
            return self._to_sign_in()
        if form.get("user") != person.user.id:
            return await self._adding(person, problem=SOMEBODY_ELSE, status=409)
        act, named = form.get("act"), form.get("passkey", "")
        try:
            if act == "add":
                return await self._add(request, person, form)
            if act == "name":
                passkey = await self._look(person, named)
                return self._page(person, "passkey_name", passkey=passkey, name=passkey.name)
            if act == "named":
                return await self._rename(person, named, form.get("name", ""))
            if act == "trust":
                await self._change(person, lambda s, user: keeping.trust(s, user.id, named))
            if act == "remove":
                return await self._ask_to_remove(person, named)
            if act == "removed":
                remove = second_factor.remove_passkey
                await self._change(person, lambda s, user: remove(s, user, named))
        except (NotFound, Conflict):  # in another tab, a moment ago
            pass
        return see_other(self._overview)

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

    async def _look(self, person: Person, passkey_id: str) -> Passkey:
        return await self._services.db.read(
            lambda session: keeping.get(session, person.user.id, passkey_id)
        )

    async def _add(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        """The browser session rises with it, and gets another name."""
        name = form.get("name", "")
        try:
            name = keeping.checked_name(name)
            made = await enrolling.made(
                self._services.passkeys, form.get("credential", ""), person.user.id
            )
            codes, cookie = await self._change(
                person, lambda s, user: self._added(s, request, person, user, made, name)
            )
        except PasskeyRefused as refusal:
            self._note(person, str(refusal.audit))
            words = LATE if isinstance(refusal, StaleChallenge) else NOT_MADE
            return await self._adding(person, name, words)
        except ValidationFailed:
            return await self._adding(person, name, A_NAME)
        except Conflict as conflict:
            self._note(person, conflict.detail)
            return await self._adding(person, name, THERE)
        headers = [self._beginning.set(cookie)]
        if codes is None:
            return see_other(self._overview, headers)
        return self._page(
            person, "recovery_codes", headers=headers, scripts=[CONVENIENCES], codes=codes,
            action=self._overview,
        )  # fmt: skip

    def _added(
        self, session: Session, request: Request, person: Person, user: User, made: Made, name: str
    ) -> tuple[list[str] | None, str]:
        _passkey, codes = self._services.second_factor.add_passkey(session, user, made, name)
        by = person.session.amr
        proof = by_passkey(in_one_device=not made.backup_eligible, password="pwd" in by)
        return codes, self._beginning.raised(session, request, user.id, proof, person)

    def _note(self, person: Person, why: str) -> None:
        self._services.queue.refused("factor.added", {"why": why}, subject=person.user.id)

    async def _rename(self, person: Person, passkey_id: str, name: str) -> Response:
        def rename(session: Session, user: User) -> Passkey:
            return keeping.rename(session, user.id, passkey_id, name)

        try:
            await self._change(person, rename)
        except ValidationFailed:
            passkey = await self._look(person, passkey_id)
            return self._page(
                person, "passkey_name", status=422, passkey=passkey, name=name, problem=A_NAME
            )
        return see_other(self._overview)

    async def _ask_to_remove(self, person: Person, passkey_id: str) -> Response:
        def look(session: Session) -> tuple[Passkey, bool]:
            passkey = keeping.get(session, person.user.id, passkey_id)
            return passkey, second_factor.is_last(session, passkey)

        passkey, last = await self._services.db.read(look)
        return self._page(person, "passkey_remove", passkey=passkey, last=last)

    # --- What is shown ------------------------------------------------------------------------

    async def _adding(
        self, person: Person, name: str = "", problem: str | None = None, *, status: int = 422
    ) -> Response:
        """`status`: where there is a problem."""
        passkeys = self._services.passkeys
        options: Options | None = None
        if passkeys.possible:

            def look(session: Session) -> Options:
                return enrolling.ask(passkeys, session, accounts.get(session, person.user.id))

            try:
                options = await self._services.db.read(look)
            except Conflict:
                problem = problem or THERE
        return self._page(
            person,
            "passkey_add",
            status=status if problem else 200,
            scripts=[SCRIPT] if options else [],
            options=options,
            name=name,
            problem=problem,
        )

    def _page(
        self,
        person: Person,
        template: str,
        *,
        status: int = 200,
        headers: list[Header] | None = None,
        scripts: Sequence[str] = (),
        problem: str | None = None,
        **said: object,
    ) -> Response:
        shown = {
            "action": self._here,
            "username": person.user.username,
            "user_id": person.user.id,
            "overview": self._overview,
            "party": self._services.passkeys.party,
            "example": by_name(self._services.settings.issuer),
            "problem": problem,
            "request_id": audit.origin.get().request_id,
        }
        return self._rendering.page(
            f"account/{template}.html",
            status=status,
            headers=[*(headers or ()), ALONE],
            forms_stay=True,
            scripts=scripts,
            **shown | said,
        )


async def page(house: House) -> OwnPasskeys:
    return OwnPasskeys(house, await house.rendering())
