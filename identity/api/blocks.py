"""`/blocks`: who is held up by failed logins, and letting them go."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId, Text
from identity.api.paging import Page, Paged, cursor, listed
from identity.api.problems import administrative
from identity.authentication import blocks
from identity.authentication.blocks import Kind

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]

router = APIRouter(prefix="/blocks", tags=["Blocks"], route_class=JsonRoute)


class BlockOut(BaseModel):
    id: str
    kind: Kind = Field(
        description="`pair`: an account at one address; `account`: it, from everywhere; `address`: "
        "it, for every account; `user_code`: codes of devices; `second_factor`: an account's codes."
    )
    user_id: str | None = Field(description="Null too for a name that is nobody's.")
    username: str | None
    address: str | None = Field(description="Of IPv6 the first of its network.")
    failures: int
    until: datetime


@router.get(
    "", operation_id="list_blocks", summary="List who is held up by failed logins",
    responses=administrative(),
)  # fmt: skip
async def list_blocks(
    actor: Reader,
    window: Paged,
    kind: Kind | None = None,
    user_id: Annotated[Text | None, Query(max_length=64)] = None,
    address: Annotated[Text | None, Query(max_length=100)] = None,
) -> Page[BlockOut]:
    """As every process sees it."""

    def unit(session: Session) -> Page[BlockOut]:
        found = blocks.listed(
            session, kind=kind, user_id=user_id, address=address,
            after=window.after, most=window.limit + 1,
        )  # fmt: skip
        shown = [BlockOut.model_validate(b, from_attributes=True) for b in found[: window.limit]]
        more = len(found) > window.limit
        return Page(items=shown, next=cursor(shown[-1].id) if more else None)

    return await listed(actor.services.db, unit)


@router.delete(
    "/{block_id}", status_code=204, operation_id="release_block",
    summary="Let whoever is held up try again at once", responses=administrative(404),
)  # fmt: skip
async def release_block(actor: Writer, block_id: PathId) -> None:
    """Nobody releases a user who holds more than they do."""
    await actor.services.db.write(lambda session: blocks.release(session, block_id, actor.held))
