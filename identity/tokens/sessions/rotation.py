"""Refresh-token rotation (RFC 9700 §4.14.2), part of the caller's unit of work.

Every use swaps the token for a new one. A client whose answer got lost may use the token it has
once more: within `RETRY` seconds, while nobody has used the successor, it gets another successor
and the unused one dies. Any other use of a spent token means that two parties hold it: the
session ends.
"""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.errors import InvalidGrant
from identity.opaque import digest, mint
from identity.records import audit
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.table import LoginSession, RefreshToken

RETRY = timedelta(seconds=10)


def find(session: Session, token: str) -> tuple[RefreshToken, LoginSession] | None:
    """The stored token and its session, in whatever state they are."""
    return session.exec(
        select(RefreshToken, LoginSession)
        .join(LoginSession)
        .where(RefreshToken.digest == digest(token))
    ).first()


def alive(token: RefreshToken, login: LoginSession) -> bool:
    now = utcnow()
    return (
        token.spent_at is None
        and token.expires_at > now
        and login.ended_at is None
        and login.expires_at > now
    )


def rotate(
    session: Session, lifetimes: Lifetimes, token: str, status_index: int | None = None
) -> str:
    """Swap `token` for its successor, or raise `InvalidGrant`; a replay ends the session."""
    found = find(session, token)
    if found is None:
        raise InvalidGrant("the refresh token is not valid", audit="unknown")
    presented, login = found
    now = utcnow()
    if not _hold(session, login, lifetimes):
        raise InvalidGrant("the session has ended", audit=f"session {login.id} has ended")
    session.refresh(presented)  # as of now that the session is ours
    if presented.expires_at <= now and presented.spent_at is None:
        raise InvalidGrant("the refresh token has expired")
    if presented.spent_at is not None:
        _retry_or_replay(session, presented, login)
    successor = mint(lifecycle.PREFIX)
    presented.spent_at, presented.spent = presented.spent_at or now, "rotated"
    presented.successor = digest(successor)
    session.add(presented)
    session.add(
        RefreshToken(
            digest=presented.successor,
            session_id=login.id,
            issued_at=now,
            expires_at=min(now + lifetimes.idle, login.expires_at),
            status_index=status_index,
        )
    )
    session.flush()
    return successor


def _hold(session: Session, login: LoginSession, lifetimes: Lifetimes) -> bool:
    """Take the session's row, unless it has ended: rotations of one session queue up here."""
    now = utcnow()
    held = session.execute(
        update(LoginSession)
        .where(
            col(LoginSession.id) == login.id,
            col(LoginSession.ended_at).is_(None),
            col(LoginSession.expires_at) > now,
        )
        .values(last_used_at=now, access_expires_at=now + lifetimes.access)
        .execution_options(synchronize_session=False)
    )
    return bool(held.rowcount == 1)  # type: ignore[attr-defined]


def _retry_or_replay(session: Session, presented: RefreshToken, login: LoginSession) -> None:
    """Return if this is the retry that is allowed, having killed the unused successor."""
    assert presented.spent_at is not None
    if presented.spent == "rotated" and utcnow() - presented.spent_at <= RETRY:
        killed = session.execute(
            update(RefreshToken)
            .where(
                col(RefreshToken.digest) == presented.successor,
                col(RefreshToken.spent_at).is_(None),
            )
            .values(spent_at=utcnow(), spent="superseded")
            .execution_options(synchronize_session=False)
        )
        if killed.rowcount == 1:  # type: ignore[attr-defined]
            return
    lifecycle.end(session, login.id, "refresh token replayed")
    audit.record(
        session, "refresh_token.replayed", outcome="refused",
        subject=login.user_id, client_id=login.client_id, sid=login.id,
    )  # fmt: skip
    raise InvalidGrant("the refresh token is not valid", audit=f"replay in session {login.id}")
