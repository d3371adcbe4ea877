"""The plain case of a rotation, in the driver's own words: a token that was never used, of a
session that lives. Everything else (retry, replay, refusal) is `rotation.rotate`'s to decide.

Hot: at full rate SQLAlchemy would cost four times what the rest of a refresh costs.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from identity.clock import utcnow
from identity.opaque import digest, mint
from identity.store import Database, moment
from identity.tokens.sessions.lifecycle import PREFIX, Lifetimes

_LOOK = """
SELECT s.id, s.user_id, s.client_id, s.scope, s.audience, s.amr, s.created_at, s.expires_at,
       t.spent_at IS NULL AND s.ended_at IS NULL AND t.expires_at > :now AND s.expires_at > :now
FROM refresh_token t JOIN session s ON s.id = t.session_id
WHERE t.digest = :digest"""

_HOLD = """
UPDATE session SET last_used_at = :now, access_expires_at = :access_expires_at
WHERE id = :session AND ended_at IS NULL AND expires_at > :now"""
_SPEND = """
UPDATE refresh_token SET spent_at = :now, spent = 'rotated', successor = :successor
WHERE digest = :digest AND spent_at IS NULL"""
_SUCCEED = """
INSERT INTO refresh_token (digest, session_id, issued_at, expires_at, status_index)
VALUES (:successor, :session, :now, :expires_at, :status_index)"""
_SQLITE = (_HOLD, _SPEND, _SUCCEED)
_POSTGRESQL = f"""
WITH held AS ({_HOLD} RETURNING id),
     spent AS ({_SPEND} AND EXISTS (SELECT 1 FROM held) RETURNING digest)
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
