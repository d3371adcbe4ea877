"""`GET /stats`: how much happened, by the hour."""

from typing import Annotated

from fastapi import APIRouter, Query

from identity.api.audit import Reader
from identity.api.bodies import JsonRoute
from identity.api.paging import listed
from identity.api.problems import administrative
from identity.service.counting import Stats, counted

router = APIRouter(tags=["Audit"], route_class=JsonRoute)


@router.get(
    "/stats", operation_id="get_stats", summary="Logins, failures and tokens by hour, and totals",
    responses=administrative(),
)  # fmt: skip
async def get_stats(
    actor: Reader,
    hours: Annotated[int, Query(ge=1, le=168, description="How many, the current one last.")] = 24,
) -> Stats:
    return await listed(actor.services.db, lambda session: counted(session, hours))
