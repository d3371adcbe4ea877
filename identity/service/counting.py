"""How much happened: logins, failures and tokens by hour, and what there is in total."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, String, case, func, type_coerce
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.records.audit import AuditEvent
from identity.store import dialect
from identity.tokens.sessions.table import LoginSession

HOUR = timedelta(hours=1)


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


def counted(session: Session, hours: int) -> Stats:
    """Of the last so many hours, the current one last."""
    return Stats(
        hours=by_hour(session, hours),
        users=_accounts(session, User),
        clients=_accounts(session, Client),
        sessions=session.exec(
            select(func.count())
            .select_from(LoginSession)
            .where(col(LoginSession.ended_at).is_(None), LoginSession.expires_at > utcnow())
        ).one(),
    )


def by_hour(session: Session, hours: int) -> list[Hour]:
    """The last so many, oldest first."""
    first = utcnow().replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR
    found = _by_hour(session, first)
    return [
        Hour(hour=hour, **found.get(f"{hour:%Y-%m-%d %H}", _NONE))
        for hour in (first + n * HOUR for n in range(hours))
    ]


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
