"""`/sessions`: everybody's, found by filters, and ended one or many."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, Line, Moment, PathId, Text
from identity.api.merge_patch import omitted
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.authentication import all_sessions
from identity.authentication.all_sessions import COUNTED, TABLES, Filter, Kind
from identity.directory.users.table import User
from identity.errors import ValidationFailed
from identity.service import stopping
from identity.service.administration.users import BY_ADMIN

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]

router = APIRouter(prefix="/sessions", tags=["Sessions"], route_class=JsonRoute)


class AnySessionOut(BaseModel):
    """A login at a client, or a person signed in here with a browser. Never a token."""

    id: str
    kind: Kind
    user_id: str
    username: str
    client_id: str | None = Field(description="Null for a browser's.")
    scope: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    acr: str | None


class Which(Body):
    """Sessions that have neither ended nor expired. All of these must be so."""

    kind: Kind = Field(default="client", description="Logins at clients, or people at browsers.")
    user_id: Line = Field(default_factory=omitted)
    client_id: Line = Field(default_factory=omitted)
    address: Line = Field(default_factory=omitted)
    since: Moment = Field(default_factory=omitted, description="Begun then or later.")
    until: Moment = Field(default_factory=omitted, description="Begun before.")
    ids: list[Line] = Field(default_factory=omitted, min_length=1, max_length=200)


class Ending(Which):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"address": "203.0.113.7", "preview": True}]}
    )

    preview: bool = Field(default=False, description="Only count them.")


class EndedOut(BaseModel):
    count: int = Field(description=f"A preview counts {COUNTED} at the most.")
    preview: bool


@router.get(
    "", operation_id="list_sessions", summary="List everybody's live sessions, newest first",
    responses=administrative(),
)  # fmt: skip
async def list_sessions(
    actor: Reader,
    window: Paged,
    kind: Kind = "client",
    user_id: Annotated[Text | None, Query(max_length=64)] = None,
    client_id: Annotated[
        Text | None, Query(max_length=200, description="Of browsers: where it has a session.")
    ] = None,
    address: Annotated[Text | None, Query(max_length=100)] = None,
    since: Annotated[Moment | None, Query(description="Begun then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Begun before.")] = None,
) -> Page[AnySessionOut]:
    wanted = Filter(kind, user_id, client_id, address, since, until)

    def unit(session: Session) -> Page[AnySessionOut]:
        rows, following = window.take(
            session, all_sessions.matching(wanted), TABLES[kind].id, newest_first=True
        )
        return Page(items=shown(session, kind, rows), next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "/end", operation_id="end_sessions", summary="End many sessions, or count them first",
    responses=administrative(body=True),
)  # fmt: skip
async def end_sessions(actor: Writer, body: Ending) -> EndedOut:
    """Those of users who hold more than you do stay, and are not counted. Something has to say
    which: all of them end by a lockdown alone."""
    said = body.model_dump(exclude_unset=True, exclude={"preview"})
    if not said.keys() - {"kind"}:
        raise ValidationFailed([("", "say which sessions: by user, client, address, time or id")])
    wanted, db = Filter(**said), actor.services.db
    if body.preview:
        count = await listed(db, lambda s: all_sessions.count(s, wanted, actor.held))
        return EndedOut(count=count, preview=True)
    count = await stopping.end_sessions(db, wanted, actor.held, BY_ADMIN)
    return EndedOut(count=count, preview=False)


@router.delete(
    "/{session_id}", status_code=204, operation_id="end_session", summary="End one session",
    responses=administrative(404),
)  # fmt: skip
async def end_session(actor: Writer, session_id: PathId) -> None:
    """With a browser's end its sessions at clients, but for offline ones. Nobody ends one of a user
    who holds more than they do."""
    await actor.services.db.write(
        lambda s: all_sessions.end_one(s, session_id, actor.held, BY_ADMIN)
    )


def shown(session: Session, kind: Kind, rows: Any) -> list[AnySessionOut]:
    """With the names of whose they are, in one query more."""
    query = select(User.id, User.username).where(col(User.id).in_({row.user_id for row in rows}))
    names = dict(session.exec(query).all())
    return [
        AnySessionOut(
            **{
                "client_id": None, "scope": None, **row.model_dump(),
                "kind": kind, "username": names[row.user_id],
            }
        )
        for row in rows
    ]  # fmt: skip
