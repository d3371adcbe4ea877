"""`/clients/{id}/logouts`: what a client is yet to be told, and what stands in the way."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Security
from pydantic import BaseModel, Field
from sqlmodel import Session, select

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.directory.clients import accounts
from identity.service.administration.clients import retry_logouts as retry_logouts_of
from identity.tokens.logouts import LogoutNotice

Reader = Annotated[Acting, Security(acting, scopes=["clients:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["clients:write"])]

router = APIRouter(prefix="/clients", tags=["Clients"], route_class=JsonRoute)


class LogoutNoticeOut(BaseModel):
    """A session that has ended, of which the client has not been told."""

    session_id: str = Field(description="Its `sid`.")
    user_id: str
    status: Literal["waiting", "given_up"]
    noted_at: datetime = Field(description="When it ended.")
    due_at: datetime = Field(description="When it is tried, or tried again.")
    attempts: int
    last_error: str | None = Field(examples=["answers 500"])

    @classmethod
    def of(cls, row: LogoutNotice) -> "LogoutNoticeOut":
        status: Literal["waiting", "given_up"] = "given_up" if row.given_up_at else "waiting"
        facts = row.model_dump(exclude={"client_id", "given_up_at"})
        return cls(**facts, status=status)


@router.get(
    "/{client_id}/logouts", operation_id="list_client_logouts",
    summary="List what a client is yet to be told", responses=administrative(404),
)  # fmt: skip
async def list_logouts(actor: Reader, client_id: PathId, window: Paged) -> Page[LogoutNoticeOut]:
    """Sessions that have ended, by id. Empty where the client has been told of all, or has no
    `backchannel_logout_uri`."""

    def unit(session: Session) -> Page[LogoutNoticeOut]:
        accounts.get(session, client_id)
        query = select(LogoutNotice).where(LogoutNotice.client_id == client_id)
        rows, following = window.take(session, query, LogoutNotice.session_id)
        return Page(items=[LogoutNoticeOut.of(row) for row in rows], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "/{client_id}/logouts/retry", status_code=204, operation_id="retry_client_logouts",
    summary="Try again now, also what was given up", responses=administrative(404),
)  # fmt: skip
async def retry_logouts(actor: Writer, client_id: PathId) -> None:
    await actor.services.db.write(lambda s: retry_logouts_of(s, client_id, actor.held))
