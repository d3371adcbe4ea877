"""What clients are yet to be told: that sessions of their users have ended (OpenID Connect
Back-Channel Logout).

A notice is written in the transaction that ends the session, so none is lost, and is deleted once
its client has been told. Who is about to tell takes it for `LEASE`; if they die meanwhile, another
process takes it then. The database's clock decides, for replicas' own differ.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Index,
    bindparam,
    delete,
    func,
    literal,
    update,
)
from sqlmodel import Field, Session, SQLModel, col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.store import (
    Database,
    Statement,
    StatementBy,
    UtcDateTime,
    delete_some,
    execute,
    insert_for,
    select_of,
)
from identity.store.moments import DatabaseClock, database_time
from identity.store.statements import DialectName
from identity.tokens.sessions.table import LoginSession

LEASE = timedelta(seconds=30)
"""Longer than anybody takes to be told."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=10)
GIVEN_UP_AFTER = timedelta(hours=24)
KEPT = timedelta(days=7)
"""How long administrators see what was given up."""


class LogoutNotice(SQLModel, table=True):
    __tablename__ = "logout_notice"
    __table_args__ = (Index("ix_logout_notice_client", "client_id", "due_at"),)

    session_id: str = Field(primary_key=True)
    """The `sid`; the session itself may be forgotten before its client is told."""
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE")
    user_id: str
    noted_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    """Nobody takes it before."""
    attempts: int = 0
    """Counted when it is taken: who settles it names the number that they took it with."""
    last_error: str | None = None
    given_up_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)


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
    """Up to `most` notices that are due; nobody else takes them for `LEASE`."""
    now = database_time(session)
    chosen = (
        select_of(LogoutNotice.session_id)
        .where(_WAITS, col(LogoutNotice.client_id) == client_id, col(LogoutNotice.due_at) <= now)
        .order_by(col(LogoutNotice.due_at))
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = session.execute(
        update(LogoutNotice)
        .where(col(LogoutNotice.session_id).in_(chosen))
        .values(due_at=now + LEASE, attempts=col(LogoutNotice.attempts) + 1)
        .returning(
            col(LogoutNotice.session_id),
            col(LogoutNotice.user_id),
            col(LogoutNotice.noted_at),
            col(LogoutNotice.attempts),
        )
        .execution_options(synchronize_session=False)
    )
    return [Taken(*row) for row in taken]


def settle_told(session: Session, taken: Taken) -> None:
    session.execute(delete(LogoutNotice).where(*_same(taken)))


def settle_failed(session: Session, taken: Taken, pause: timedelta, words: str) -> bool:
    """It is due again after `pause`; False where that has gone on for too long, and nobody tries
    again."""
    now = database_time(session)
    over = now + pause > taken.noted_at + GIVEN_UP_AFTER
    session.execute(
        update(LogoutNotice)
        .where(*_same(taken))
        .values(due_at=now + pause, last_error=words[:200], given_up_at=now if over else None)
    )
    return not over


def _same(taken: Taken) -> tuple[ColumnElement[bool], ...]:
    """Unless another process took it meanwhile, because we were thought to be dead."""
    return (
        col(LogoutNotice.session_id) == taken.session_id,
        col(LogoutNotice.attempts) == taken.attempts,
    )


def try_again(session: Session, client_id: str) -> int:
    """All that wait for a client are due now, and what was given up waits again; how many."""
    again = session.execute(
        update(LogoutNotice)
        .where(col(LogoutNotice.client_id) == client_id)
        .values(due_at=database_time(session), given_up_at=None)
    )
    return cast(CursorResult[Any], again).rowcount


def prune(session: Session) -> int:
    """Forget what was given up, after a while."""
    return delete_some(session, LogoutNotice, col(LogoutNotice.given_up_at) < utcnow() - KEPT)
