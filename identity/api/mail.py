"""`/mail`: the outbox, for administrators: what waits, what went wrong, trying again, a test.

No address and no word of a mail is stored where it can be read; a mail that waits is opened to be
shown, and its link does not exist before it is sent.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, PathId
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.api.users.schemas import Email
from identity.authentication.mail import outbox
from identity.authentication.mail.kinds import KINDS
from identity.authentication.mail.outbox import Letter, OutgoingMail
from identity.directory.users import names
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound
from identity.records import audit
from identity.service.wiring import Services

Reader = Annotated[Acting, Security(acting, scopes=["mail:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["mail:write"])]
State = Literal["waiting", "sent", "given_up"]
WITHHELD = "…"
"""In place of what a link would say."""

router = APIRouter(prefix="/mail", tags=["Mail"], route_class=JsonRoute)


class MailOut(BaseModel):
    """A mail in the outbox. It is forgotten a week after it was sent or given up."""

    id: str
    kind: str = Field(examples=["reset"])
    user_id: str | None = Field(description="Whose account it is about, where that is known.")
    state: State
    noted_at: datetime = Field(description="When it was written, or was last to be tried again.")
    due_at: datetime = Field(description="When it is tried, or tried again.")
    attempts: int
    last_error: str | None = Field(examples=["(450, 'try later')"])
    sent_at: datetime | None

    @classmethod
    def of(cls, row: OutgoingMail) -> "MailOut":
        state: State = "sent" if row.sent_at else "given_up" if row.given_up_at else "waiting"
        return cls(state=state, **row.model_dump(include=cls.model_fields.keys() - {"state"}))


class MailShown(MailOut):
    to: str | None = Field(description="Null once it has been sent, and nobody knows any more.")
    subject: str | None
    text: str | None


class NewTest(Body):
    to: Email


@router.get(
    "", operation_id="list_mail", summary="List mails, newest first", responses=administrative()
)
async def list_mail(
    actor: Reader,
    window: Paged,
    state: State | None = None,
    user_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[MailOut]:
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

    def unit(session: Session) -> Page[MailOut]:
        rows, following = window.take(session, query, OutgoingMail.id, newest_first=True)
        return Page(items=[MailOut.of(row) for row in rows], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "/test", status_code=202, operation_id="test_mail", summary="Send a mail that says nothing",
    responses=administrative(409, body=True, s409="No mail can be sent: there is no server."),
)  # fmt: skip
async def test_mail(actor: Writer, body: NewTest) -> MailOut:
    """To see whether mails arrive: `GET /mail/{mail_id}` says how it fares."""
    mails, to = actor.services.mails, names.email(body.to, "/to")
    if not mails.on:
        raise Conflict("no mail can be sent: IDENTITY_SMTP_URL is not set")

    def unit(session: Session) -> MailOut:
        id_ = mails.write(session, "test", to=to)
        audit.record(session, "mail.tested", mail=id_)
        return MailOut.of(_find(session, str(id_)))

    return await actor.services.db.write(unit)


@router.get(
    "/{mail_id}", operation_id="get_mail", summary="Show a mail, without what its link says",
    responses=administrative(404),
)  # fmt: skip
async def get_mail(actor: Reader, mail_id: PathId) -> MailShown:
    services = actor.services

    def unit(session: Session) -> tuple[OutgoingMail, str | None]:
        row = _find(session, mail_id)
        user = session.get(User, row.user_id) if row.user_id else None
        return row, user.username if user else None

    row, username = await services.db.read(unit)
    out = MailOut.of(row).model_dump()
    if row.sealed is None:
        return MailShown(**out, to=None, subject=None, text=None)
    letter = services.mails.open(row.id, row.sealed)
    subject, text = await asyncio.to_thread(_worded, services, row, letter, username)
    return MailShown(**out, to=letter.to, subject=subject, text=text)


@router.post(
    "/{mail_id}/retry", status_code=204, operation_id="retry_mail",
    summary="Send a mail now, also one that was given up", responses=administrative(404, 409),
)  # fmt: skip
async def retry_mail(actor: Writer, mail_id: PathId) -> None:
    def unit(session: Session) -> None:
        row = _find(session, mail_id)
        if not outbox.try_again(session, mail_id):
            raise Conflict("it has been sent")
        audit.record(session, "mail.retried", subject=row.user_id, mail=mail_id, kind=row.kind)

    await actor.services.db.write(unit)


def _find(session: Session, mail_id: str) -> OutgoingMail:
    row = session.get(OutgoingMail, mail_id)
    if row is None:
        raise NotFound("no such mail")
    return row


def _worded(
    services: Services, row: OutgoingMail, letter: Letter, username: str | None
) -> tuple[str, str]:
    """In a thread: the first time it imports much."""
    from identity.authentication.mail.preparing import Ready
    from identity.authentication.mail.wording import Wording

    link = WITHHELD if KINDS[row.kind].link else None
    values: dict[str, Any] = {**letter.values, "username": username or letter.to, "link": link}
    to = letter.to if "@" in letter.to else "nobody@invalid"
    ready = Ready(row.id, row.kind, to, letter.locale, values)
    message = Wording(services.settings).message(ready)
    part = message.get_body(("plain",))
    return str(message["Subject"]), part.get_content() if part is not None else ""
