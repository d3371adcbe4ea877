"""`/console/mail?id=…`: how one mail fares, what it says but for its link, and sending it again."""

from identity.http.messages import Response
from identity.pages.console import naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Form
from identity.pages.console.mails import KINDS
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.service.administration import mail as administration


class MailScreen(Desk):
    screen = own("mail")

    async def show(self, seat: Seat, query: Query) -> Response:
        found = await administration.shown(self.services, query.get("id", ""))
        row = found.row
        users = await self.services.db.read(lambda s: naming.users(s, [row.user_id]))
        return self.page(
            seat, "mail", title=KINDS.get(row.kind, row.kind), mail=found, row=row,
            state=administration.state_of(row), users=users, done=query.get("done", ""),
        )  # fmt: skip

    async def retry(self, seat: Seat, query: Query, form: Form) -> Response:
        mail_id = query.get("id", "")
        await self.services.db.write(lambda session: administration.retry(session, mail_id))
        return self.done(seat.at("/mail", id=mail_id), "retried")

    deeds = {"retry": Deed("retry_mail", "mail:write", retry)}  # noqa: RUF012


async def page(house: House) -> MailScreen:
    return MailScreen(house, await house.rendering())
