"""The outbox, for administrators: what waits, what went wrong, trying again, a test.

No address and no word of a mail is stored where it can be read; a mail that waits is opened to be
shown, and its link does not exist before it is sent.
"""

import asyncio
from typing import Any, Literal, NamedTuple

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.authentication.mail import outbox
from identity.authentication.mail.kinds import KINDS
from identity.authentication.mail.outbox import Letter, Outbox, OutgoingMail
from identity.directory.branding.current import Brand, look
from identity.directory.users import names
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound
from identity.records import audit
from identity.service.wiring import Services

State = Literal["waiting", "sent", "given_up"]
WITHHELD = "..."
"""In place of what a link would say; dots of ASCII, which an address can hold."""


class Shown(NamedTuple):
    row: OutgoingMail
    to: str | None
    """None once it has been sent, and nobody knows any more; so are its words."""
    subject: str | None
    text: str | None


def matching(state: State | None, user_id: str | None) -> SelectOfScalar[OutgoingMail]:
    query = select(OutgoingMail)
    sent, given_up = col(OutgoingMail.sent_at), col(OutgoingMail.given_up_at)
    if state == "sent":
        query = query.where(sent.is_not(None))
    elif state == "given_up":
        query = query.where(sent.is_(None), given_up.is_not(None))
    elif state == "waiting":
        query = query.where(sent.is_(None), given_up.is_(None))
    if user_id is not None:
        query = query.where(OutgoingMail.user_id == user_id)
    return query


def state_of(row: OutgoingMail) -> State:
    return "sent" if row.sent_at else "given_up" if row.given_up_at else "waiting"


async def shown(services: Services, mail_id: str) -> Shown:
    def unit(session: Session) -> tuple[OutgoingMail, str | None, Brand]:
        row = _find(session, mail_id)
        user = session.get(User, row.user_id) if row.user_id else None
        return row, user.username if user else None, look(session)

    row, username, brand = await services.db.read(unit)
    if row.sealed is None:
        return Shown(row, None, None, None)
    letter = services.mails.open(row.id, row.sealed)
    subject, text = await asyncio.to_thread(_worded, services, row, letter, username, brand)
    return Shown(row, letter.to, subject, text)


def send_test(session: Session, mails: Outbox, to: str) -> OutgoingMail:
    address = names.email(to, "/to")
    if not mails.on:
        raise Conflict("no mail can be sent: IDENTITY_SMTP_URL is not set")
    id_ = mails.write(session, "test", to=address)
    audit.record(session, "mail.tested", mail=id_)
    return _find(session, str(id_))


def retry(session: Session, mail_id: str) -> None:
    row = _find(session, mail_id)
    if not outbox.try_again(session, mail_id):
        raise Conflict("it has been sent")
    audit.record(session, "mail.retried", subject=row.user_id, mail=mail_id, kind=row.kind)


def _find(session: Session, mail_id: str) -> OutgoingMail:
    row = session.get(OutgoingMail, mail_id)
    if row is None:
        raise NotFound("no such mail")
    return row


def _worded(
    services: Services, row: OutgoingMail, letter: Letter, username: str | None, brand: Brand
) -> tuple[str, str]:
    """In a thread: the first time it imports much."""
    from identity.authentication.mail.preparing import Ready
    from identity.authentication.mail.wording import Wording

    link = WITHHELD if KINDS[row.kind].link else None
    values: dict[str, Any] = {**letter.values, "username": username or letter.to, "link": link}
    to = letter.to if "@" in letter.to else "nobody@invalid"
    ready = Ready(row.id, row.kind, to, letter.locale, values, brand)
    message = Wording(services.settings).message(ready)
    part = message.get_body(("plain",))
    return str(message["Subject"]), part.get_content() if part is not None else ""
