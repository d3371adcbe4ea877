"""What clients are yet to be told: that sessions of their users have ended (OpenID Connect
Back-Channel Logout).

A notice is written in the transaction that ends the session, and is deleted once its client has
been told (`store.leased` has how it waits).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Index, bindparam, delete, func, literal
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.store import (
    Database,
    Statement,
    StatementBy,
    execute,
    insert_for,
    leased,
    select_of,
)
from identity.store.leased import Leased
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName
from identity.tokens.sessions.table import LoginSession


class LogoutNotice(Leased, table=True):
    __tablename__ = "logout_notice"
    __table_args__ = (Index("ix_logout_notice_client", "client_id", "due_at"),)

    session_id: str = Field(primary_key=True)
    """The `sid`; the session itself may be forgotten before its client is told."""
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE")
    user_id: str


class Taken(NamedTuple):
    """A notice of which this process is to tell now."""

    session_id: str
    user_id: str
    noted_at: datetime
    attempts: int


_WANTS = col(Client.settings)["backchannel_logout_uri"].as_string().is_not(None)
_WAITS = col(LogoutNotice.given_up_at).is_(None)


def _noted(dialect: DialectName) -> Any:
    clock: Any = DatabaseClock()
    ended = (
        select_of(
            LoginSession.id, LoginSession.client_id, LoginSession.user_id, clock, clock, literal(0)
        )
        .join_from(LoginSession, Client)
        .where(col(LoginSession.id) == bindparam("session_id"), _WANTS)
    )
    columns: list[Any] = [
        LogoutNotice.session_id, LogoutNotice.client_id, LogoutNotice.user_id,
        LogoutNotice.noted_at, LogoutNotice.due_at, LogoutNotice.attempts,
    ]  # fmt: skip
    return insert_for(dialect, LogoutNotice).from_select(columns, ended).on_conflict_do_nothing()


_NOTE = StatementBy(_noted)


def note(session: Session, session_ids: Sequence[str]) -> None:
    """These have just ended; of those whose clients want to know, that will be told."""
    if session_ids:
        now = utcnow()
        execute(session, _NOTE, [{"session_id": each, "now": now} for each in session_ids])


def note_signed_out(session: Session, browser_session_id: str) -> None:
    """Offline sessions outlive the browser session at which they began. Their clients are told
    all the same that nobody is signed in there any more (§2.7)."""
    began_there = select_of(LoginSession.id).where(
        col(LoginSession.signed_in_at) == browser_session_id,
        col(LoginSession.browser_session_id).is_(None),
        col(LoginSession.ended_at).is_(None),
    )
    note(session, list(session.scalars(began_there)))


def wanting(session: Session, client_ids: Collection[str]) -> set[str]:
    """Those of the clients that want to be told."""
    query = select_of(Client.id).where(col(Client.id).in_(client_ids), _WANTS)
    return set(session.scalars(query))


_DUE = Statement(
    lambda: (
        select_of(LogoutNotice.client_id)
        .where(_WAITS, col(LogoutNotice.due_at) <= DatabaseClock())
        .group_by(LogoutNotice.client_id)
        .order_by(func.min(LogoutNotice.due_at))
        .limit(bindparam("most"))
    )
)


async def due(db: Database, most: int) -> list[str]:
    """Clients that are to be told something now, longest waiting first."""
    rows = await db.query(_DUE, {"now": utcnow(), "most": most})
    return [client_id for (client_id,) in rows]


def take(session: Session, client_id: str, most: int) -> list[Taken]:
    """Up to `most` notices that are due; nobody else takes them for a while."""
    columns = [col(getattr(LogoutNotice, name)) for name in Taken._fields]
    whose = col(LogoutNotice.client_id) == client_id
    return [Taken._make(row) for row in leased.take(session, LogoutNotice, most, whose, of=columns)]


def settle_told(session: Session, taken: Taken) -> None:
    session.execute(delete(LogoutNotice).where(*leased.same(LogoutNotice, taken.session_id, taken)))


def settle_failed(session: Session, taken: Taken, pause: timedelta, words: str) -> bool:
    """False where it is given up."""
    return leased.settle_failed(session, LogoutNotice, taken.session_id, taken, pause, words)


def try_again(session: Session, client_id: str) -> int:
    """All that wait for a client are due now, and what was given up waits again; how many."""
    return leased.try_again(session, LogoutNotice, col(LogoutNotice.client_id) == client_id)


def prune(session: Session) -> int:
    return leased.prune(session, LogoutNotice)
