"""`GET /audit`: what happened."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Moment, Text
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.records.audit import AuditEvent, Outcome
from identity.records.audit.reading import matching

Reader = Annotated[Acting, Security(acting, scopes=["audit:read"])]
Id = Annotated[Text | None, Query(max_length=200)]


class AuditEventOut(BaseModel):
    id: int
    at: datetime
    event: str = Field(examples=["user.disabled"])
    outcome: Outcome
    actor_type: str = Field(examples=["user"])
    actor: str | None = Field(description="Who did it: the id of a user or client.")
    subject: str | None = Field(description="To whom or what it was done.")
    client_id: str | None
    address: str | None
    request_id: str | None
    detail: dict[str, Any]
    seq: int | None = Field(description="Its place in the sealed chain, within a second.")
    digest: str | None


router = APIRouter(tags=["Audit"], route_class=JsonRoute)


@router.get(
    "/audit", operation_id="list_audit_events", summary="Who did what, newest first",
    responses=administrative(),
)  # fmt: skip
async def list_events(
    actor_: Reader,
    window: Paged,
    actor: Id = None,
    subject: Id = None,
    event: Annotated[
        Text | None,
        Query(max_length=100, description="Its name, or `user.*` for all that begin so.",
              examples=["login", "user.*"]),
    ] = None,
    outcome: Outcome | None = None,
    since: Annotated[Moment | None, Query(description="Included.")] = None,
    until: Annotated[Moment | None, Query(description="Not included.")] = None,
) -> Page[AuditEventOut]:  # fmt: skip
    query = matching(
        actor=actor, subject=subject, event=event, outcome=outcome, since=since, until=until
    )

    def unit(session: Session) -> Page[AuditEventOut]:
        rows, following = window.take(
            session, query, AuditEvent.id, newest_first=True, parse=_event_id
        )
        items = [AuditEventOut.model_validate(row, from_attributes=True) for row in rows]
        return Page(items=items, next=following)

    return await listed(actor_.services.db, unit)


def _event_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(text)
    return int(text)
