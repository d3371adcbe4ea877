"""`GET /audit` and `GET /stats`: what happened, and how much of it."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, String, case, func, type_coerce
from sqlmodel import Session, col, select

from identity.acting import Acting, acting
from identity.audit import AuditEvent, Outcome
from identity.clients.table import Client
from identity.clock import utcnow
from identity.db import dialect
from identity.inputs import JsonRoute, Moment, Text
from identity.paging import Page, Paged, escaped, listed
from identity.problems import administrative
from identity.sessions.table import LoginSession
from identity.users.table import User

Reader = Annotated[Acting, Security(acting, scopes=["audit:read"])]
Id = Annotated[Text | None, Query(max_length=200)]

HOUR = timedelta(hours=1)


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


class Hour(BaseModel):
    hour: datetime = Field(description="When it began.")
    logins: int
    failures: int = Field(description="Logins refused.")
    tokens: int = Field(description="Access tokens issued, by logins, refreshes and clients.")


class Accounts(BaseModel):
    total: int
    active: int
    disabled: int


class Stats(BaseModel):
    hours: list[Hour] = Field(description="Oldest first; the last one is not over yet.")
    users: Accounts
    clients: Accounts
    sessions: int = Field(description="Live ones.")


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
    now = utcnow()
    first = now.replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR

    def unit(session: Session) -> Stats:
        counted = _by_hour(session, first)
        return Stats(
            hours=[
                Hour(hour=hour, **counted.get(f"{hour:%Y-%m-%d %H}", _NONE))
                for hour in (first + n * HOUR for n in range(hours))
            ],
            users=_accounts(session, User),
            clients=_accounts(session, Client),
            sessions=session.exec(
                select(func.count())
                .select_from(LoginSession)
                .where(col(LoginSession.ended_at).is_(None), LoginSession.expires_at > now)
            ).one(),
        )

    return await listed(actor.services.db, unit)


_NONE = {"logins": 0, "failures": 0, "tokens": 0}


def _by_hour(session: Session, first: datetime) -> dict[str, dict[str, int]]:
    """`YYYY-MM-DD HH` to what is counted of that hour, from `first` on."""
    hour: ColumnElement[str]
    if dialect(session) == "postgresql":
        hour = func.to_char(func.timezone("UTC", AuditEvent.at), "YYYY-MM-DD HH24")
    else:
        hour = func.substr(type_coerce(AuditEvent.at, String), 1, 13)
    login, success = AuditEvent.event == "login", AuditEvent.outcome == "success"

    def number(condition: Any, each: Any = 1) -> Any:
        return func.sum(case((condition, each), else_=0))

    refused = func.coalesce(col(AuditEvent.detail)["count"].as_integer(), 1)
    query = (
        select(hour, number(login & success), number(login & ~success, refused), number(success))
        .where(col(AuditEvent.event).in_(("login", "token.issued")), AuditEvent.at >= first)
        .group_by(hour)
    )
    return {
        at: {"logins": logins, "failures": failures, "tokens": tokens}
        for at, logins, failures, tokens in session.exec(query)
    }


def _accounts(session: Session, table: type[User] | type[Client]) -> Accounts:
    query = select(table.status, func.count()).group_by(table.status)
    by_status = dict(session.exec(query).all())
    return Accounts(
        total=sum(by_status.values()),
        active=by_status.get("active", 0),
        disabled=by_status.get("disabled", 0),
    )


def _named(event: str) -> Any:
    if event.endswith("*"):
        return col(AuditEvent.event).like(f"{escaped(event[:-1])}%", escape="\\")
    return AuditEvent.event == event


def _event_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(text)
    return int(text)
