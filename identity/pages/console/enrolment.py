"""Deeds of `/console/user`: a link for whoever has lost every second factor, and taking it back."""

from sqlmodel import Session

from identity.authentication import enrolment
from identity.authentication.enrolment import open_until
from identity.directory.users import accounts
from identity.http.messages import Response
from identity.pages.console import naming
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet
from identity.pages.words import _

__all__ = ["issue", "open_until", "sheet", "withdraw"]


async def sheet(desk: Desk, seat: Seat, query: Query) -> Sheet:
    user = await naming.user(desk, query)
    return Sheet(
        title=_("Enrolment link for %s") % user.username,
        button=_("Make the link"),
        lead=_("For somebody who has lost every second factor. The link is good once, for a day, "
               "together with their password, and lets them set up a new factor. Until then those "
               "of before go on. They are told by mail, at every address of theirs. Be sure that "
               "it is they who ask."),
        fields=[Field("reason", _("Reason, for the audit"), required=True)],
        back=seat.at("/user", id=user.id),
    )  # fmt: skip


async def issue(desk: Desk, seat: Seat, query: Query, form: Form) -> Response:
    user = await naming.user(desk, query)

    def unit(session: Session) -> enrolment.Issued:
        locked = accounts.get(session, user.id, lock=True)
        return enrolment.issue(session, locked, seat.held, form.text("reason"))

    issued = await desk.services.db.write(unit)
    return desk.page(
        seat, "once", title=_("Enrolment link"), what=_("Enrolment link"), whose=user.username,
        secret=issued.address(desk.services.settings.issuer), until=issued.expires_at,
        lead=_("Hand it over by a way that only they read. It is shown this once."),
        back=seat.at("/user", id=user.id), another="",
    )  # fmt: skip


async def withdraw(desk: Desk, seat: Seat, query: Query, form: Form) -> Response:
    user_id = query.get("id", "")

    def unit(session: Session) -> None:
        enrolment.withdraw(session, accounts.get(session, user_id, lock=True), seat.held)

    await desk.services.db.write(unit)
    return desk.done(seat.at("/user", id=user_id), "unlinked")
