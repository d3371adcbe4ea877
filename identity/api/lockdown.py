"""`/lockdown`: nobody signs in and nothing is issued, until it is lifted."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from identity.api.actor import TOO_OLD, Acting, acting
from identity.api.bodies import Body, JsonRoute, Line
from identity.api.merge_patch import IfMatch, check_unchanged, etag
from identity.api.problems import administrative
from identity.service import stopping
from identity.tokens.lockdown import State, load

Reader = Annotated[Acting, Security(acting, scopes=["audit:read"])]
Warden = Annotated[Acting, Security(acting, scopes=["lockdown:write"])]

router = APIRouter(prefix="/lockdown", tags=["Lockdown"], route_class=JsonRoute)


class LockdownOut(BaseModel):
    active: bool
    since: datetime | None
    reason: str | None
    actor_type: str | None = Field(description="Who began it.", examples=["user"])
    actor: str | None
    tokens_ended: bool = Field(description="Whether what was issued before has died as well.")


class NewLockdown(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "Passwords leaked", "end_tokens": False}]}
    )

    reason: Line | None = Field(default=None, description="For the audit, and administrators.")
    end_tokens: bool = Field(
        default=False,
        description="Every token dies and every session ends, the one that asks too. Siblings hear "
        "of it at once.",
    )


@router.get(
    "", operation_id="get_lockdown", summary="Show whether sign-ins are stopped",
    responses=administrative(),
)  # fmt: skip
async def get_lockdown(actor: Reader, response: Response) -> LockdownOut:
    return _shown(await load(actor.services.db), response)


@router.put(
    "", operation_id="begin_lockdown", summary="Stop every sign-in and whatever is issued",
    responses=administrative(412, body=True, s403=TOO_OLD),
)  # fmt: skip
async def begin_lockdown(
    actor: Warden, body: NewLockdown, response: Response, if_match: IfMatch = None
) -> LockdownOut:
    """Sign-ins, logins, codes, refreshes and tokens answer 503 `temporarily_unavailable`, on every
    process, from this answer on. Whoever holds `lockdown:write` may still sign in, and lift it."""
    actor.check_stepped_up()
    state = await stopping.begin_lockdown(
        actor.services.db,
        body.reason,
        end_tokens=body.end_tokens,
        check=partial(check_unchanged, if_match),
    )
    return _shown(state, response)


@router.delete(
    "", operation_id="lift_lockdown", summary="Let everybody sign in again",
    responses=administrative(412, s403=TOO_OLD),
)  # fmt: skip
async def lift_lockdown(actor: Warden, response: Response, if_match: IfMatch = None) -> LockdownOut:
    """What died stays dead. Nothing happens where nothing is stopped."""
    actor.check_stepped_up()
    state = await stopping.lift_lockdown(
        actor.services.db, check=partial(check_unchanged, if_match)
    )
    return _shown(state, response)


def _shown(state: State, response: Response) -> LockdownOut:
    response.headers["etag"] = etag(state.version)
    return LockdownOut.model_validate(state, from_attributes=True)
