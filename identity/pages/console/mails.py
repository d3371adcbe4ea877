"""`/console/mails`: what waits to be sent, what went wrong, and a test."""

from typing import get_args

from sqlmodel import Session

from identity.authentication.mail.outbox import OutgoingMail
from identity.directory.users import accounts
from identity.http.messages import Response
from identity.pages.console import lists, naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import mail as administration
from identity.service.administration.mail import State, state_of
from identity.store.paging import listed

FILTERS = ("state", "user")
KINDS = {
    "reset": _("New password"),
    "verify": _("Confirm the e-mail address"),
    "invitation": _("Invitation"),
    "change_email": _("Confirm a new e-mail address"),
    "email_taken": _("The e-mail address is taken"),
    "email_changed": _("The e-mail address was changed"),
    "password_changed": _("The password was changed"),
    "password_reset": _("A one-time password was set"),
    "factor_added": _("A second factor was set up"),
    "factor_removed": _("A second factor was removed"),
    "passkey_doubted": _("A passkey in doubt"),
    "factors_reset": _("The second factors were taken away"),
    "recovery_code_used": _("A recovery code was used"),
    "new_device": _("A new device"),
    "lost_everything": _("Let in again by an administrator"),
    "sign_up": _("Confirm a new account"),
    "account_there": _("An account that is there already"),
    "test": _("Test"),
}
"""By kind (`authentication.mail.kinds`)."""


class Mails(Desk):
    screen = own("mails")

    async def show(self, seat: Seat, query: Query) -> Response:
        window, state = lists.window(query), query.get("state", "")

        def unit(session: Session) -> tuple[list[OutgoingMail], str | None, dict[str, str]]:
            filters = administration.matching(
                state if state in get_args(State) else None,  # type: ignore[arg-type]
                naming.user_id(session, query.get("user")),
            )
            rows, cursor = window.take(session, filters, OutgoingMail.id, newest_first=True)
            return list(rows), cursor, naming.users(session, [each.user_id for each in rows])

        rows, cursor, users = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "mails", title=_("Mails"), rows=rows, users=users, kinds=KINDS,
            state_of=state_of, chosen={name: query.get(name, "") for name in FILTERS},
            following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    async def test_sheet(self, seat: Seat, query: Query) -> Sheet:
        own_id = seat.person.user.id
        mine = await self.services.db.read(lambda s: accounts.get(s, own_id).email)
        return Sheet(
            title=_("Send a test mail"), button=_("Send"),
            lead=_("It says nothing, and takes the way of all others: its page then shows whether "
                   "it has gone, or what the server says."),
            fields=[
                Field("to", _("E-mail address"), "email", mine or "", required=True, longest=320)
            ],
            back=seat.at("/mails"),
        )  # fmt: skip

    async def test(self, seat: Seat, query: Query, form: Form) -> Response:
        mails, to = self.services.mails, form.text("to")
        mail_id = await self.services.db.write(
            lambda session: administration.send_test(session, mails, to).id
        )
        return self.done(seat.at("/mail", id=mail_id), "mail_written")

    deeds = {"test": Deed("test_mail", "mail:write", test, test_sheet)}  # noqa: RUF012


async def page(house: House) -> Mails:
    return Mails(house, await house.rendering())
