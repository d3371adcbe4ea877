"""Refresh-token rotation (RFC 9700 §4.14.2): one rule, at two speeds.

Every use swaps the token for a new one. A client whose answer got lost may use the token it has
again: within the retry window, while nobody has used its successor, it gets another successor and
the unused one dies. Any other use of a spent token means that two parties hold it: the session
ends. Ages go by the database's clock, for replicas' own differ.

`look` and `swap` are the plain case in the driver's own words, a token that was never used, of a
session that lives; at full rate SQLAlchemy would cost four times what the rest of a refresh costs.
`rotate` decides everything, within the caller's unit of work.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.errors import InvalidGrant
from identity.opaque import digest, mint
from identity.records import audit
from identity.store import Database, moment
from identity.store.moments import CLOCK, database_time
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.lifecycle import PREFIX, Lifetimes
from identity.tokens.sessions.table import LoginSession, RefreshToken

CLOCKS_DIFFER = timedelta(seconds=5)
"""A use that lies this far ahead at the most is taken for one of this moment; one further ahead is
a clock that was set back, and proves nothing against anybody."""

_LOOK = """
SELECT s.id, s.user_id, s.client_id, s.scope, s.audience, s.amr, s.created_at, s.expires_at,
       t.spent_at IS NULL AND s.ended_at IS NULL AND t.expires_at > :now AND s.expires_at > :now
FROM refresh_token t JOIN session s ON s.id = t.session_id
WHERE t.digest = :digest"""

_HOLD = """
UPDATE session SET last_used_at = :now, access_expires_at = :access_expires_at
WHERE id = :session AND ended_at IS NULL AND expires_at > :now"""
_SPEND = """
UPDATE refresh_token SET spent_at = {now}, spent = 'rotated', successor = :successor
WHERE digest = :digest AND spent_at IS NULL"""
_SUCCEED = """
INSERT INTO refresh_token (digest, session_id, issued_at, expires_at, status_index)
VALUES (:successor, :session, :now, :expires_at, :status_index)"""
_SQLITE = (_HOLD, _SPEND.format(now=":now"), _SUCCEED)
_POSTGRESQL = f"""
WITH held AS ({_HOLD} RETURNING id),
     spent AS ({_SPEND.format(now=CLOCK)} AND EXISTS (SELECT 1 FROM held) RETURNING digest)
INSERT INTO refresh_token (digest, session_id, issued_at, expires_at, status_index)
SELECT CAST(:successor AS text), CAST(:session AS text), CAST(:now AS timestamptz),
       CAST(:expires_at AS timestamptz), CAST(:status_index AS bigint)
FROM spent"""  # noqa: S608 - put together from the statements above


@dataclass(frozen=True, slots=True)
class Login:
    """A session as far as a refresh needs it."""

    id: str
    user_id: str
    client_id: str
    scope: str
    audience: str
    amr: list[str]
    created_at: datetime
    expires_at: datetime
    unused: bool
    """Whether the token presented was still unused, in a session that lives."""


async def look(db: Database, token: str) -> Login | None:
    """The session of `token`; None where no such token is known."""
    rows = await db.query(_LOOK, {"digest": digest(token), "now": utcnow()})
    if not rows:
        return None
    id_, user_id, client_id, scope, audience, amr, created, expires, unused = rows[0]
    return Login(
        id=id_,
        user_id=user_id,
        client_id=client_id,
        scope=scope,
        audience=audience,
        amr=json.loads(amr) if isinstance(amr, str) else amr,
        created_at=moment(created),
        expires_at=moment(expires),
        unused=bool(unused),
    )


async def swap(
    db: Database, lifetimes: Lifetimes, token: str, login: Login, status_index: int
) -> str | None:
    """The successor of `token`, durable; None where somebody was quicker, and nothing changed."""
    now, successor = utcnow(), mint(PREFIX)
    values: dict[str, Any] = {
        "digest": digest(token),
        "session": login.id,
        "successor": digest(successor),
        "now": now,
        "access_expires_at": now + lifetimes.access,
        "expires_at": min(now + lifetimes.idle, login.expires_at),
        "status_index": status_index,
    }
    done = await db.apply(sqlite=_SQLITE, postgresql=_POSTGRESQL, values=values)
    return successor if done else None


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
        _retry_or_replay(session, lifetimes.retry, presented, login)
    successor = mint(PREFIX)
    presented.spent_at = presented.spent_at or database_time(session)
    presented.spent = "rotated"
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


def _retry_or_replay(
    session: Session, window: timedelta, presented: RefreshToken, login: LoginSession
) -> None:
    """Return if this is a retry that is allowed, having killed the unused successor."""
    assert presented.spent_at is not None
    age = database_time(session) - presented.spent_at
    if age < -CLOCKS_DIFFER:
        raise InvalidGrant(
            "the refresh token is not valid", audit=f"spent {-age} ahead of the database's clock"
        )
    if presented.spent == "rotated" and age <= window:
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
