"""`/mail`: the outbox, for administrators."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, PathId
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.api.users.schemas import Email
from identity.authentication.mail.outbox import OutgoingMail
from identity.service.administration import mail as administration
from identity.service.administration.mail import State

Reader = Annotated[Acting, Security(acting, scopes=["mail:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["mail:write"])]

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
        state = administration.state_of(row)
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
    query = administration.matching(state, user_id)

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
    mails = actor.services.mails
    return await actor.services.db.write(
        lambda session: MailOut.of(administration.send_test(session, mails, body.to))
    )


@router.get(
    "/{mail_id}", operation_id="get_mail", summary="Show a mail, without what its link says",
    responses=administrative(404),
)  # fmt: skip
async def get_mail(actor: Reader, mail_id: PathId) -> MailShown:
    found = await administration.shown(actor.services, mail_id)
    out = MailOut.of(found.row).model_dump()
    return MailShown(**out, to=found.to, subject=found.subject, text=found.text)


@router.post(
    "/{mail_id}/retry", status_code=204, operation_id="retry_mail",
    summary="Send a mail now, also one that was given up", responses=administrative(404, 409),
)  # fmt: skip
async def retry_mail(actor: Writer, mail_id: PathId) -> None:
    await actor.services.db.write(lambda session: administration.retry(session, mail_id))
