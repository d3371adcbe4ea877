"""How a session begins: its row, and the refresh token that opens a family. Each function is part
of the caller's unit of work."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, literal, select
from sqlmodel import col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.errors import InvalidGrant
from identity.opaque import digest, mint, new_id
from identity.records import audit
from identity.store import Statement, Work, execute, insert_of
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.table import LoginSession, RefreshToken

PREFIX = "rt"
"""Of refresh tokens."""


class Begun(NamedTuple):
    """A session as its tokens tell of it."""

    id: str
    authenticated_at: datetime
    expires_at: datetime
    amr: list[str]
    acr: str | None = None
    family_id: str | None = None
    """Of what one code granted; None: the session has one family, without a row."""


_CLIENT = Statement(
    lambda: (
        select(literal(1))
        .select_from(Client)
        .where(col(Client.id) == bindparam("client_id"), col(Client.status) == "active")
        .with_for_update(read=True)
    )  # so that it stays as it is until we commit
)
OF_SESSION: dict[Any, str] = {
    LoginSession.id: "id",
    LoginSession.user_id: "user_id",
    LoginSession.client_id: "client_id",
    LoginSession.scope: "scope",
    LoginSession.audience: "audience",
    LoginSession.amr: "amr",
    LoginSession.created_at: "now",
    LoginSession.last_used_at: "now",
    LoginSession.expires_at: "expires_at",
    LoginSession.access_expires_at: "access_expires_at",
    LoginSession.address: "address",
    LoginSession.user_agent: "user_agent",
}
"""Of every session, however it begins."""
_BEGIN = Statement(
    lambda: insert_of(
        LoginSession,
        {
            **OF_SESSION,
            LoginSession.acr: "acr",
            LoginSession.status_index: "status_index",
            LoginSession.jkt: "jkt",
        },
    )
)
OF_TOKEN: dict[Any, str] = {
    RefreshToken.digest: "token",
    RefreshToken.session_id: "session_id",
    RefreshToken.issued_at: "now",
    RefreshToken.expires_at: "token_expires_at",
    RefreshToken.family_id: "family_id",
}
FIRST = Statement(lambda: insert_of(RefreshToken, OF_TOKEN))
"""The refresh token that opens a family."""


def start(
    work: Work,
    lifetimes: Lifetimes,
    *,
    user_id: str,
    client_id: str,
    scope: str,
    audience: str,
    amr: list[str],
    acr: str | None = None,
    status_index: int | None = None,
    user_agent: str | None = None,
    jkt: str | None = None,
) -> Begun:
    """A new session of a user who has just been authenticated (`amr`: RFC 8176 names), and whose
    row this transaction holds. `jkt`: what its refresh tokens are bound to (`tokens.binding`)."""
    if not execute(work, _CLIENT, {"client_id": client_id}).fetchall():
        raise InvalidGrant("the login is not valid any more", audit="client gone meanwhile")
    now = utcnow()
    begun = Begun(new_id(), now, now + lifetimes.absolute, amr, acr)
    values = {
        "id": begun.id,
        "user_id": user_id,
        "client_id": client_id,
        "scope": scope,
        "audience": audience,
        "amr": amr,
        "acr": acr,
        "now": now,
        "expires_at": begun.expires_at,
        "access_expires_at": now + lifetimes.access,
        "status_index": status_index,
        "address": audit.origin.get().address,
        "user_agent": user_agent[:200] if user_agent else None,
        "jkt": jkt,
    }
    execute(work, _BEGIN, values)
    return begun


def first_refresh_token(work: Work, idle: timedelta, begun: Begun) -> str:
    """The token that opens the family; shown once, its digest is kept. `idle`: how long it may lie
    unused."""
    token, now = mint(PREFIX), utcnow()
    values = {
        "token": digest(token),
        "session_id": begun.id,
        "family_id": begun.family_id,
        "now": now,
        "token_expires_at": min(now + idle, begun.expires_at),
    }
    execute(work, FIRST, values)
    return token
