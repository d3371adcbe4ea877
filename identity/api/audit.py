"""`GET /audit`: what happened. `GET /audit/verification`: whether somebody wrote in it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Moment, Text
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.errors import ValidationFailed
from identity.records.audit import AuditEvent, Outcome, Place
from identity.records.audit.reading import matching
from identity.service.administration import audit as administration

Reader = Annotated[Acting, Security(acting, scopes=["audit:read"])]
Id = Annotated[Text | None, Query(max_length=200)]
TOLD = 100
"""Faults that an answer names."""


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


class FaultOut(BaseModel):
    seq: int
    words: str = Field(examples=["event 7 (user.disabled) or its place was changed"])


class VerificationOut(BaseModel):
    """What was found in a stretch of the chain."""

    ok: bool = Field(description="Whether this stretch is whole.")
    faults: list[FaultOut] = Field(description=f"The first {TOLD}.")
    fault_count: int
    begins: str = Field(description="The `SEQ:DIGEST` behind which it begins; `0:-` is before all.")
    next: str | None = Field(
        description="For `after`. Null: the end was reached, and its signature checked."
    )
    head: str | None = Field(
        description="The head on record; compare it with those in the logs (`audit sealed`).",
        examples=["7:1ef63ae8…"],
    )
    archived: str | None = Field(description="The last event that is in an archive.")
    unsealed: int = Field(description="Events that no chain protects yet.")


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
    q: Annotated[
        Text | None,
        Query(max_length=200, description="How an event's name begins, or an actor or subject.",
              examples=["user."]),
    ] = None,
) -> Page[AuditEventOut]:  # fmt: skip
    query = matching(
        actor=actor, subject=subject, event=event, outcome=outcome, since=since, until=until,
        words=q,
    )  # fmt: skip

    def unit(session: Session) -> Page[AuditEventOut]:
        rows, following = window.take(
            session, query, AuditEvent.id, newest_first=True, parse=event_id
        )
        items = [AuditEventOut.model_validate(row, from_attributes=True) for row in rows]
        return Page(items=items, next=following)

    return await listed(actor_.services.db, unit)


@router.get(
    "/audit/verification", operation_id="verify_audit",
    summary="Whether an event was changed, removed, reordered or cut off",
    responses=administrative(),
)  # fmt: skip
async def verify(
    actor: Reader,
    after: Annotated[
        Text | None, Query(max_length=100, description="`next` of the answer before.")
    ] = None,
    head: Annotated[
        Text | None,
        Query(max_length=100, description="A head from the logs, to be found in the chain.",
              examples=["7:1ef63ae8…"]),
    ] = None,
) -> VerificationOut:  # fmt: skip
    """As `identity audit verify`, some thousand events at a time: go on with `next` until it is
    null. One at a time in each process; another is answered 503."""
    found = await administration.verify(
        actor.services, _place(after, "?after"), _place(head, "?head")
    )
    return VerificationOut(
        ok=not found.faults,
        faults=[FaultOut(seq=each.seq, words=each.words) for each in found.faults[:TOLD]],
        fault_count=len(found.faults),
        begins=str(found.begins),
        next=str(found.ends) if found.ends else None,
        head=str(found.head) if found.head else None,
        archived=str(found.archived) if found.archived else None,
        unsealed=found.unsealed,
    )


def _place(text: str | None, pointer: str) -> Place | None:
    place = Place.of(text) if text else None
    if text and place is None:
        raise ValidationFailed([(pointer, "is SEQ:DIGEST, as the logs and this address say it")])
    return place


def event_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(text)
    return int(text)
