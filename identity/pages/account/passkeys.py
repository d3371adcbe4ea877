"""`/account/passkeys`: adding, naming and removing one's own. `/account/factors` lists them."""

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
from identity.pages.account.factors import FactorPage, Factors, by_name
from identity.pages.account.own import FINE, Errors
from identity.pages.by_passkey import LATE, SCRIPT
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Rendering
from identity.pages.words import _
from identity.service.interactions import Person

NOT_MADE = _("The passkey could not be added. Try again.")
THERE = _("This passkey has been added already, or there are twenty, the most that one may have.")
A_NAME = _("The name has to be 1 to 100 characters that can be shown.")


class OwnPasskeys(FactorPage):
    name, within = "passkeys", Factors.name

    def __init__(self, house: House, rendering: Rendering) -> None:
        super().__init__(house, rendering)
        self._overview = f"{rendering.base}/account/{Factors.name}"

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        if not errors:
            return await self._adding(request, person)
        return await self._adding(request, person, problem=errors[""], status=status)

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        act, named = form.get("act"), form.get("passkey", "")
        try:
            if act == "add":
                return await self._add(request, person, form)
            if act == "name":
                passkey = await self._look(person, named)
                return self._naming(request, person, passkey, passkey.name)
            if act == "named":
                return await self._rename(request, person, named, form.get("name", ""))
            if act == "trust":
                await self.change(person, lambda s, user: keeping.trust(s, user.id, named))
            if act == "remove":
                return await self._ask_to_remove(request, person, named)
            if act == "removed":
                remove = second_factor.remove_passkey
                await self.change(person, lambda s, user: remove(s, user, named))
        except (NotFound, Conflict):  # in another tab, a moment ago
            pass
        return see_other(self._overview)

    # --- Steps ------------------------------------------------------------------------------

    async def _look(self, person: Person, passkey_id: str) -> Passkey:
        return await self.services.db.read(
            lambda session: keeping.get(session, person.user.id, passkey_id)
        )

    async def _add(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        """The browser session rises with it, and gets another name."""
        name = form.get("name", "")
        try:
            name = keeping.checked_name(name)
            made = await enrolling.made(
                self.services.passkeys, form.get("credential", ""), person.user.id
            )
            codes, cookie = await self.change(
                person, lambda s, user: self._added(s, request, person, user, made, name)
            )
        except PasskeyRefused as refusal:
            self._note(person, str(refusal.audit))
            words = LATE if isinstance(refusal, StaleChallenge) else NOT_MADE
            return await self._adding(request, person, name, words)
        except ValidationFailed:
            return await self._adding(request, person, name, A_NAME)
        except Conflict as conflict:
            self._note(person, conflict.detail)
            return await self._adding(request, person, name, THERE)
        headers = [self.beginning.set(cookie)]
        if codes is None:
            return see_other(self._overview, headers)
        return self.page(
            request, person, "recovery_codes", headers=headers, scripts=[CONVENIENCES],
            codes=codes, action=self._overview,
        )  # fmt: skip

    def _added(
        self, session: Session, request: Request, person: Person, user: User, made: Made, name: str
    ) -> tuple[list[str] | None, str]:
        _passkey, codes = self.services.second_factor.add_passkey(session, user, made, name)
        by = person.session.amr
        proof = by_passkey(in_one_device=not made.backup_eligible, password="pwd" in by)
        return codes, self.beginning.raised(session, request, user.id, proof, person)

    def _note(self, person: Person, why: str) -> None:
        self.services.queue.refused("factor.added", {"why": why}, subject=person.user.id)

    async def _rename(
        self, request: Request, person: Person, passkey_id: str, name: str
    ) -> Response:
        def rename(session: Session, user: User) -> Passkey:
            return keeping.rename(session, user.id, passkey_id, name)

        try:
            await self.change(person, rename)
        except ValidationFailed:
            passkey = await self._look(person, passkey_id)
            return self._naming(request, person, passkey, name, A_NAME)
        return see_other(self._overview)

    async def _ask_to_remove(self, request: Request, person: Person, passkey_id: str) -> Response:
        def look(session: Session) -> tuple[Passkey, bool]:
            passkey = keeping.get(session, person.user.id, passkey_id)
            return passkey, second_factor.is_last(session, passkey)

        passkey, last = await self.services.db.read(look)
        return self.page(
            request, person, "passkey_remove", passkey=passkey, last=last, overview=self._overview
        )

    # --- What is shown ------------------------------------------------------------------------

    async def _adding(
        self,
        request: Request,
        person: Person,
        name: str = "",
        problem: str | None = None,
        *,
        status: int = 422,
    ) -> Response:
        """`status`: where there is a problem."""
        passkeys = self.services.passkeys
        options: Options | None = None
        if passkeys.possible:

            def look(session: Session) -> Options:
                return enrolling.ask(passkeys, session, accounts.get(session, person.user.id))

            try:
                options = await self.services.db.read(look)
            except Conflict:
                problem = problem or THERE
        return self.page(
            request,
            person,
            "passkey_add",
            status=status if problem else 200,
            scripts=[SCRIPT] if options else [],
            options=options,
            name=name,
            problem=problem,
            party=passkeys.party,
            example=by_name(self.services.settings.issuer),
            overview=self._overview,
        )

    def _naming(
        self,
        request: Request,
        person: Person,
        passkey: Passkey,
        name: str,
        problem: str | None = None,
    ) -> Response:
        return self.page(
            request, person, "passkey_name", status=422 if problem else 200,
            passkey=passkey, name=name, problem=problem, overview=self._overview,
        )  # fmt: skip


async def page(house: House) -> OwnPasskeys:
    return OwnPasskeys(house, await house.rendering())
