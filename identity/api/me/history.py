"""`GET /users/me/history`: what happened to one's account, as its page shows it."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlmodel import Session

from identity.api.actor import Me
from identity.api.audit import event_id
from identity.api.bodies import JsonRoute
from identity.api.paging import Page, Paged, cursor, listed
from identity.api.problems import administrative
from identity.errors import ValidationFailed
from identity.records.audit import Outcome
from identity.service import own_account

router = APIRouter(tags=["Self-service"], route_class=JsonRoute)


class Told(BaseModel):
    at: datetime
    event: str = Field(examples=["user.password_changed"])
    outcome: Outcome
    by: str = Field(description="`you`, or what kind of other it was.", examples=["you", "user"])
    client_id: str | None
    address: str | None = Field(description="From where; null where somebody else acted.")
    detail: dict[str, Any]


@router.get(
    "/users/me/history", operation_id="list_my_history",
    summary="List what happened to my account in the last 90 days, newest first",
    responses=administrative(s403="The token is a client's, or lacks the scope."),
)  # fmt: skip
async def history(me: Me, window: Paged) -> Page[Told]:
    before = _before(window.after)

    def unit(session: Session) -> Page[Told]:
        found = own_account.history(session, me.user.id, before, window.limit + 1)
        items = [Told(**own_account.told(row, me.user.id)) for row in found[: window.limit]]
        more = len(found) > window.limit
        following = cursor(str(found[window.limit - 1].id)) if more else None
        return Page(items=items, next=following)

    return await listed(me.services.db, unit)


def _before(after: str | None) -> int | None:
    try:
        return event_id(after) if after is not None else None
    except ValueError:
        raise ValidationFailed([("?after", "is not a cursor from this list")]) from None
