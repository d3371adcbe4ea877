"""`/users/export` and `/users/import`: many users at once, as a file."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response, Security
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute
from identity.api.problems import administrative
from identity.api.stepping_up import TOO_OLD
from identity.api.users.listing import Filtered
from identity.directory.users.exporting import MEDIA, Format
from identity.errors import UnsupportedMediaType
from identity.service import bulk
from identity.service.bulk import Progress

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]
NDJSON = "application/x-ndjson"
IMPORTED = {"text/csv": "csv", NDJSON: "jsonl", "application/jsonl": "jsonl"}
Layout = Literal["csv", "jsonl", "keycloak", "auth0", "firebase"]

router = APIRouter(prefix="/users", tags=["Users"], route_class=JsonRoute)


class BadRow(BaseModel):
    line: int
    reason: str


class ImportProgress(BaseModel):
    """One line of the answer, after each few hundred rows."""

    rows: int
    created: int
    updated: int
    unchanged: int
    differing: int = Field(description="Of those unchanged, who are not as the file has them.")
    bad: int
    bad_rows: list[BadRow] = Field(description="Since the line before.")
    done: bool = Field(description="Of the last line, where the whole file was read.")
    problem: str | None = Field(description="Why it ended before. What was done stays done.")


def _file(media: str, words: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": words, "content": {media: {"schema": schema}}}}


_TEXT = {"type": "string"}
_EXPORT = _file(MEDIA["csv"].partition(";")[0], "The users.", _TEXT)
_EXPORT[200]["content"][NDJSON] = {"schema": _TEXT}
_IMPORT = _file(NDJSON, "How far it has come, line by line.", _TEXT)


@router.get(
    "/export", operation_id="export_users", summary="Export users as a file",
    response_class=StreamingResponse,
    responses={**_EXPORT, **administrative(s403=TOO_OLD)},
)  # fmt: skip
async def export_users(
    actor: Reader,
    wanted: Filtered,
    form: Annotated[
        Format, Query(alias="format", description="`ndjson`: a JSON object a line.")
    ] = "csv",
) -> Response:
    """Those that the filters leave, all of them. In CSV, what a spreadsheet would take for a
    formula has an apostrophe before it. Never a password's hash. On record."""
    actor.check_stepped_up()
    pieces = await bulk.export(actor.services, wanted, form, actor.standing("users:read"))
    return StreamingResponse(
        pieces,
        media_type=MEDIA[form],
        headers={
            "content-disposition": f'attachment; filename="users.{form}"',
            "x-content-type-options": "nosniff",
        },
    )


@router.post(
    "/import", operation_id="import_users", summary="Import users from a file",
    response_class=StreamingResponse,
    responses={**_IMPORT, **administrative(408, 413, 415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {media: {"schema": _TEXT} for media in ("text/csv", NDJSON)},
        }
    },
)  # fmt: skip
async def import_users(
    request: Request,
    actor: Writer,
    dry_run: Annotated[bool, Query(description="Only say what would be.")] = False,
    update: Annotated[
        bool, Query(description="Bring users who exist into line; passwords stay.")
    ] = False,
    layout: Annotated[
        Layout | None,
        Query(alias="format", description="Else as the Content-Type says: CSV or NDJSON."),
    ] = None,
) -> Response:
    """As `identity users import`, of at most 64 MiB. Nobody gives roles that hold more than they
    hold themselves, nor changes who does. It can be sent again."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = layout or IMPORTED.get(media)
    if form is None:
        raise UnsupportedMediaType(f"send one of {', '.join(IMPORTED)}, or say the format")
    async with AsyncExitStack() as stack:
        file = await stack.enter_async_context(bulk.received(request.stream()))
        progress = await bulk.import_users(
            actor.services, file, form, update=update, dry_run=dry_run,
            standing=actor.standing("users:write"),
        )  # fmt: skip
        kept = stack.pop_all()
    return StreamingResponse(_lines(progress, kept), media_type=NDJSON)


async def _lines(progress: AsyncIterator[Progress], kept: AsyncExitStack) -> AsyncIterator[bytes]:
    async with kept:
        async for each in progress:
            rows = [BadRow(line=line, reason=reason) for line, reason in each.bad_rows]
            shown = {name: getattr(each, name) for name in ImportProgress.model_fields}
            line = ImportProgress(**shown | {"bad_rows": rows})
            yield orjson.dumps(line.model_dump()) + b"\n"
