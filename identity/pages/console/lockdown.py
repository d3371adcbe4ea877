"""`/console/lockdown`: whether sign-ins are stopped, and stopping them in one act."""

from functools import partial
from typing import NamedTuple

from sqlmodel import Session, col, select

from identity.authentication import all_sessions
from identity.authentication.all_sessions import COUNTED, Filter
from identity.directory.access.granting import LOCKDOWN
from identity.directory.access.table import RoleScope
from identity.directory.clients.table import Client
from identity.directory.users.table import User, UserRole
from identity.http.messages import Response
from identity.http.preconditions import check_unchanged, etag
from identity.pages.console import naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import stopping
from identity.store.paging import listed

NAMED = 10
"""Of those who can still sign in, so many are named."""


class Touched(NamedTuple):
    """What a lockdown would stop."""

    browsers: int
    logins: int
    clients: int
    keepers: list[str]
    """Usernames of some who are let in all the same."""


class LockdownScreen(Desk):
    screen = own("lockdown")

    async def show(self, seat: Seat, query: Query) -> Response:
        state = seat.lockdown

        def unit(session: Session) -> str:
            return naming.users(session, [state.actor]).get(state.actor or "", state.actor or "")

        by = await self.services.db.read(unit) if state.active else ""
        return self.page(seat, "lockdown", title=_("Lockdown"), by=by, done=query.get("done", ""))

    async def begin_sheet(self, seat: Seat, query: Query) -> Sheet:
        touched = await listed(self.services.db, _touched)
        if seat.lockdown.active:
            lead = _("A lockdown is in force already. Nothing more is stopped, but you can give "
                     "another reason, and end what was issued before.")  # fmt: skip
        else:
            lead = _("From the moment that you press the button nobody can sign in and nothing is "
                     "issued, whichever process is asked. What was issued before goes on, unless "
                     "you end it too.")  # fmt: skip
        return Sheet(
            title=_("Stop every sign-in"), button=_("Stop every sign-in"), danger=True, lead=lead,
            facts=_facts(seat, touched),
            fields=[
                Field("reason", _("Reason, for the audit"),
                      hint=_("Who may read the audit sees it on every page of the console.")),
                Field("end_tokens", _("End every token and every session too"), "check", False,
                      hint=_("Applications and services hear of it at once. Yours ends as well: "
                             "you sign in again to lift the lockdown. There is no way back.")),
            ],
            version=etag(seat.lockdown.version), back=seat.at("/lockdown"),
        )  # fmt: skip

    async def begin(self, seat: Seat, query: Query, form: Form) -> Response:
        await stopping.begin_lockdown(
            self.services.db,
            form.some("reason"),
            end_tokens=form.ticked("end_tokens"),
            check=partial(check_unchanged, form.some("version")),
        )
        return self.done(seat.at("/lockdown"), "locked_down")

    async def lift_sheet(self, seat: Seat, query: Query) -> Sheet:
        return Sheet(
            title=_("Lift the lockdown"), button=_("Let everybody sign in again"),
            lead=_("Everybody can sign in again, and applications are given tokens. What has ended "
                   "stays so."),
            version=etag(seat.lockdown.version), back=seat.at("/lockdown"),
        )  # fmt: skip

    async def lift(self, seat: Seat, query: Query, form: Form) -> Response:
        check = partial(check_unchanged, form.some("version"))
        await stopping.lift_lockdown(self.services.db, check=check)
        return self.done(seat.at("/lockdown"), "lifted")

    deeds = {  # noqa: RUF012
        "begin": Deed("begin_lockdown", "lockdown:write", begin, begin_sheet, proof=True),
        "lift": Deed("lift_lockdown", "lockdown:write", lift, lift_sheet, proof=True),
    }


def _touched(session: Session) -> Touched:
    clients = select(Client.id).where(Client.status == "active").limit(COUNTED)
    keepers = (
        select(User.username)
        .join(UserRole, col(UserRole.user_id) == col(User.id))
        .join(RoleScope, col(RoleScope.role) == col(UserRole.role))
        .where(RoleScope.scope == LOCKDOWN, User.status == "active")
        .distinct()
        .order_by(User.username)
        .limit(NAMED + 1)
    )
    return Touched(
        all_sessions.count(session, Filter("browser"), None),
        all_sessions.count(session, Filter("client"), None),
        len(session.exec(clients).all()),
        list(session.exec(keepers)),
    )


def _facts(seat: Seat, touched: Touched) -> list[tuple[str, str]]:
    names = touched.keepers[:NAMED]
    more = len(touched.keepers) > NAMED
    if seat.may("users:read"):
        keepers = ", ".join([*names, *(["…"] if more else [])])
    else:
        keepers = f"{len(names)}{'+' if more else ''}"
    return [
        (_("Applications that get no tokens"), _many(touched.clients)),
        (_("People signed in with a browser"), _many(touched.browsers)),
        (_("Sessions at applications, which are not refreshed"), _many(touched.logins)),
        (_("Who can still sign in, and lift it"), keepers),
    ]


def _many(count: int) -> str:
    return f"{count}+" if count >= COUNTED else str(count)


async def page(house: House) -> LockdownScreen:
    return LockdownScreen(house, await house.rendering())
