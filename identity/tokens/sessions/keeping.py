"""A refresh token that stays what it is (FAPI 2.0 Security Profile §5.3.2.1): of clients whose
tokens are bound to a key. Rotation would protect nothing more, and an answer that gets lost would
cost the session.

The place of each access token is kept in a row of its own, as those of a rotation are: when the
session ends they are shown as revoked.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import col

from identity.clock import utcnow
from identity.errors import InvalidGrant
from identity.opaque import digest, new_id
from identity.store import Statement, Work, execute, insert_of
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.rotation import HOLD, Login
from identity.tokens.sessions.table import RefreshToken

_USE = Statement(
    lambda: (
        update(RefreshToken)
        .where(
            col(RefreshToken.digest) == bindparam("digest"),
            col(RefreshToken.spent_at).is_(None),
            col(RefreshToken.expires_at) > bindparam("now"),
        )
        .values({RefreshToken.expires_at: bindparam("expires_at")})
    )
)
_PLACE = Statement(
    lambda: insert_of(
        RefreshToken,
        {
            RefreshToken.digest: "nobodys",
            RefreshToken.session_id: "session",
            RefreshToken.family_id: "family_id",
            RefreshToken.issued_at: "now",
            RefreshToken.expires_at: "now",
            RefreshToken.spent_at: "now",
            RefreshToken.status_index: "status_index",
        },
    )
)


def keep(work: Work, lifetimes: Lifetimes, token: str, login: Login, status_index: int) -> None:
    """`token` has been used, and is good for longer. Raises `InvalidGrant`."""
    now: datetime = utcnow()
    values: dict[str, Any] = {
        "digest": digest(token),
        "session": login.id,
        "family_id": login.family_id,
        "now": now,
        "access_expires_at": now + lifetimes.access,
        "expires_at": min(now + lifetimes.unused(online=login.online), login.expires_at),
        "nobodys": digest(new_id()),
        "status_index": status_index,
    }
    if execute(work, HOLD, values).rowcount != 1:
        raise InvalidGrant("the session has ended", audit=f"session {login.id} has ended")
    if execute(work, _USE, values).rowcount != 1:
        raise InvalidGrant("the refresh token is not valid", audit="spent or expired")
    execute(work, _PLACE, values)
