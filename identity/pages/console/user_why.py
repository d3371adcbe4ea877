"""`/console/user-why?id=…`: why could this user not sign in, and why may they do that? Answered by
what decides (`service.why`)."""

from sqlmodel import Session

from identity.directory.access import granting
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import IdentityError, InvalidScope, InvalidTarget, NotFound
from identity.http.messages import Response
from identity.pages.console import naming
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.forms import sentence
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import why
from identity.service.why import Reason, Rights, SignIn
from identity.store.paging import listed

REASONS: dict[Reason, str] = {
    "client_disabled": _("The client is disabled."),
    "grant_not_allowed": _("The client may not take passwords (the grant `password`)."),
    "grant_switched_off": _("Clients may not take passwords here (`IDENTITY_PASSWORD_GRANT`)."),
    "throttled": _("Too many sign-ins have failed: the next ones are refused for a while."),
    "disabled": _("The user is disabled."),
    "password_expired": _("The one-time password has expired."),
    "no_password": _("The user has no password."),
    "unreadable_password": _("The password is stored in a way that is not known here."),
    "lockdown": _("Every sign-in is stopped by a lockdown."),
    "password_must_change": _("The one-time password has to be changed first."),
    "second_factor_required": _("A second factor is needed beside the password."),
}
STEPS: frozenset[Reason] = frozenset(("password_must_change", "second_factor_required"))
"""What keeps nobody out who signs in at a page: it asks for that next."""
DETAILED: frozenset[Reason] = frozenset(("throttled", "lockdown"))
"""Whose own words say more."""
BLOCKS = {
    "pair": _("this user from this address"), "account": _("this user from everywhere"),
    "address": _("everybody from this address"), "user_code": _("codes of devices"),
    "second_factor": _("codes of the authenticator app"),
}  # fmt: skip
WITHHELD = {
    "client": _("The client may not ask for it."),
    "user": _("No role of theirs that counts holds it."),
    "resource": _("It belongs to another resource."),
}
LEVELS = {
    "": _("the highest there is"),
    "aal1": _("a password"),
    "aal2": _("a password and a second factor"),
    "phr": _("a passkey"),
}
FEW = 200
FIELDS = ("client", "address", "scope", "resource", "acr")


class UserWhy(Desk):
    screen = own("user_why")

    async def show(self, seat: Seat, query: Query) -> Response:
        user_id = query.get("id", "")
        asked = {name: query.get(name, "").strip()[:500] for name in FIELDS}
        if asked["acr"] not in LEVELS:
            asked["acr"] = ""

        def unit(session: Session) -> tuple[User, list[str]]:
            user = accounts.get(session, user_id)
            return user, naming.client_ids(session, FEW) if seat.may("clients:read") else []

        user, known = await listed(self.services.db, unit)
        problem: tuple[str, str] | None = None
        told: SignIn | None = None
        rights: Rights | None = None
        try:
            told, rights = await self._answered(seat, user_id, asked)
        except (NotFound, InvalidScope, InvalidTarget) as error:
            problem = _mistaken(error)
        return self.page(
            seat, "user_why", title=_("Why? %s") % user.username, user=user, asked=asked,
            known=known, told=told, rights=rights, problem=problem, reasons=REASONS, steps=STEPS,
            detailed=DETAILED, blocks=BLOCKS, withheld=WITHHELD, levels=LEVELS,
            sees_audit=seat.may("audit:read"), status=422 if problem else 200,
        )  # fmt: skip

    async def _answered(
        self, seat: Seat, user_id: str, asked: dict[str, str]
    ) -> tuple[SignIn, Rights | None]:
        client_id = asked["client"] or None
        told = await why.sign_in(
            self.services, user_id, client_id=client_id, address=asked["address"] or None,
            failures=seat.may("audit:read"),
        )  # fmt: skip
        if client_id is None:
            return told, None
        rights = await why.rights(
            self.services, user_id, client_id, scopes=granting.parse(asked["scope"]),
            resource=asked["resource"] or None, acr=asked["acr"] or None,
        )  # fmt: skip
        rights.scopes.sort(key=lambda trace: (not trace.granted, trace.scope))
        return told, rights


def _mistaken(error: IdentityError) -> tuple[str, str]:
    """The field, and what is wrong with it."""
    if isinstance(error, NotFound):
        return "client", _("There is no such client.")
    return "scope" if isinstance(error, InvalidScope) else "resource", sentence(error.detail)


async def page(house: House) -> UserWhy:
    return UserWhy(house, await house.rendering())
