"""`GET /audit` and `GET /stats`: what happened, and how much of it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from identity.acting import Acting, acting
from identity.audit import AuditEvent, Outcome
from identity.counting import Stats, counted
from identity.inputs import JsonRoute, Moment, Text
from identity.paging import Page, Paged, escaped, listed
from identity.problems import administrative

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
    filters: list[Any] = []
    if actor is not None:
        filters.append(AuditEvent.actor == actor)
    if subject is not None:
        filters.append(AuditEvent.subject == subject)
    if event is not None:
        filters.append(_named(event))
    if outcome is not None:
        filters.append(AuditEvent.outcome == outcome)
    if since is not None:
        filters.append(AuditEvent.at >= since)
    if until is not None:
        filters.append(AuditEvent.at < until)

    def unit(session: Session) -> Page[AuditEventOut]:
        query = select(AuditEvent).where(*filters)
        rows, following = window.take(
            session, query, AuditEvent.id, newest_first=True, parse=_event_id
        )
        items = [AuditEventOut.model_validate(row, from_attributes=True) for row in rows]
        return Page(items=items, next=following)

    return await listed(actor_.services.db, unit)


@router.get(
    "/stats", operation_id="get_stats", summary="Logins, failures and tokens by hour, and totals",
    responses=administrative(),
)  # fmt: skip
async def get_stats(
    actor: Reader,
    hours: Annotated[int, Query(ge=1, le=168, description="How many, the current one last.")] = 24,
) -> Stats:
    return await listed(actor.services.db, lambda session: counted(session, hours))


def _named(event: str) -> Any:
    if event.endswith("*"):
        return col(AuditEvent.event).like(f"{escaped(event[:-1])}%", escape="\\")
    return AuditEvent.event == event


def _event_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(text)
    return int(text)
