"""Authorization codes (RFC 6749 §4.1.2): issued by one statement, redeemed in one transaction
(`sessions.redeeming`).

A code is bound to its client, redirect URI, PKCE challenge and browser session, and is consumed
only once all of these match: whoever has a leaked code and nothing else ends nobody's session. It
lives by the database's clock, for replicas' own differ. Of two that redeem it at once the
conditional write lets one through; the other one, like every later one, is a replay and ends the
session that the first use began or joined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, bindparam, insert, literal, update
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.clients.table import Client
from identity.opaque import digest, mint
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    delete_some,
    document,
    execute,
    moment,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName
from identity.tokens import pushed
from identity.tokens.sessions.table import BrowserSession

PREFIX = "ac"
LIFE = timedelta(seconds=60)
KEPT = timedelta(days=1)
"""How long a code is known after its end, so that its replay is seen for what it is."""

_JSON_OR_NULL: Any = JSON(none_as_null=True)


class AuthorizationCode(Stored, table=True):
    __tablename__ = "authorization_code"

    digest: str = Field(primary_key=True)
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE", index=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    browser_session_id: str = Field(
        foreign_key="browser_session.id", ondelete="CASCADE", index=True
    )
    redirect_uri: str | None = None
    """As the request named it, None where it named none."""
    code_challenge: str | None = None
    scope: str
    resources: list[str] = Field(default_factory=list, sa_type=JSON)
    nonce: str | None = None
    claims: dict[str, Any] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    authorization_details: list[dict[str, Any]] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    authenticated_at: datetime = Field(sa_type=UtcDateTime)
    amr: list[str] = Field(default_factory=list, sa_type=JSON)
    acr: str
    dpop_jkt: str | None = None
    """The key that alone may redeem it (RFC 9449 §10)."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    session_id: str | None = None
    """The session that the first use began or joined."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """What a person at a browser granted to a client."""

    client_id: str
    user_id: str
    browser_session_id: str
    redirect_uri: str | None
    code_challenge: str | None
    scope: str
    resources: tuple[str, ...]
    nonce: str | None
    claims: dict[str, Any] | None
    authorization_details: Sequence[Mapping[str, Any]]
    authenticated_at: datetime
    amr: tuple[str, ...]
    acr: str
    dpop_jkt: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Code(Authorized):
    """One that has been issued."""

    digest: str
    expires_at: datetime
    used: bool
    session_id: str | None
    browser_expires_at: datetime


_PRESENTED = col(AuthorizationCode.digest) == bindparam("digest")
_ISSUED: tuple[Any, ...] = (
    AuthorizationCode.digest,
    AuthorizationCode.client_id,
    AuthorizationCode.user_id,
    AuthorizationCode.browser_session_id,
    AuthorizationCode.redirect_uri,
    AuthorizationCode.code_challenge,
    AuthorizationCode.scope,
    AuthorizationCode.resources,
    AuthorizationCode.nonce,
    AuthorizationCode.claims,
    AuthorizationCode.authorization_details,
    AuthorizationCode.authenticated_at,
    AuthorizationCode.amr,
    AuthorizationCode.acr,
    AuthorizationCode.dpop_jkt,
)


def _issued(dialect: DialectName) -> Any:
    """One row, if browser session and client live; on PostgreSQL they do until we commit."""
    ends: Any = AuthorizationCode.expires_at
    end: Any = value_of(ends, ends.key)
    if dialect == "postgresql":
        end = DatabaseClock() + literal(LIFE)
    living = (
        select_of(*(value_of(column, column.key) for column in _ISSUED), end)
        .select_from(BrowserSession, Client)
        .where(
            col(BrowserSession.id) == bindparam("browser_session_id"),
            col(BrowserSession.ended_at).is_(None),
            col(Client.id) == bindparam("client_id"),
            col(Client.status) == "active",
        )
        .with_for_update(read=True)
    )
    return insert(AuthorizationCode).from_select([*_ISSUED, ends], living)


_ISSUE = StatementBy(_issued)


async def issue(db: Database, granted: Authorized, pushed_request: str | None) -> str | None:
    """A code, durable; None where browser session or client ended meanwhile. With it the pushed
    request of this digest is consumed; `Conflict` where it has been before."""
    code = mint(PREFIX)
    values = {
        "digest": digest(code),
        "client_id": granted.client_id,
        "user_id": granted.user_id,
        "browser_session_id": granted.browser_session_id,
        "redirect_uri": granted.redirect_uri,
        "code_challenge": granted.code_challenge,
        "scope": granted.scope,
        "resources": granted.resources,
        "nonce": granted.nonce,
        "claims": granted.claims or None,
        "authorization_details": granted.authorization_details or None,
        "authenticated_at": granted.authenticated_at,
        "amr": granted.amr,
        "acr": granted.acr,
        "dpop_jkt": granted.dpop_jkt,
        "expires_at": utcnow() + LIFE,  # SQLite's; replicas' clocks differ
    }
    if pushed_request is None:
        issued = await db.apply(sqlite=[_ISSUE], postgresql=_ISSUE, values=values)
    else:
        issued = await db.write_plain(lambda work: _issue_for(work, pushed_request, values))
    return code if issued else None


def _issue_for(work: Work, pushed_request: str, values: Mapping[str, Any]) -> bool:
    pushed.consume(work, pushed_request)
    return execute(work, _ISSUE, values).rowcount == 1


_LOOK = Statement(
    lambda: (
        select_of(
            *_ISSUED,
            AuthorizationCode.expires_at,
            col(AuthorizationCode.used_at).is_not(None),
            AuthorizationCode.session_id,
            BrowserSession.expires_at,
        )
        .join_from(AuthorizationCode, BrowserSession)
        .where(_PRESENTED)
    )
)


async def look(db: Database, code: str) -> Code | None:
    """The code in whatever state it is; None where it is not known."""
    rows = await db.query(_LOOK, {"digest": digest(code)})
    if not rows:
        return None
    (
        key, client_id, user_id, browser, redirect_uri, challenge, scope, resources, nonce, claims,
        details, authenticated_at, amr, acr, dpop_jkt, expires_at, used, session_id,
        browser_expires_at,
    ) = rows[0]  # fmt: skip
    return Code(
        client_id=client_id,
        user_id=user_id,
        browser_session_id=browser,
        redirect_uri=redirect_uri,
        code_challenge=challenge,
        scope=scope,
        resources=tuple(document(resources)),
        nonce=nonce,
        claims=document(claims),
        authorization_details=document(details) or (),
        authenticated_at=moment(authenticated_at),
        amr=tuple(document(amr)),
        acr=acr,
        dpop_jkt=dpop_jkt,
        digest=key,
        expires_at=moment(expires_at),
        used=bool(used),
        session_id=session_id,
        browser_expires_at=moment(browser_expires_at),
    )


GOOD = (
    _PRESENTED,
    col(AuthorizationCode.used_at).is_(None),
    col(AuthorizationCode.expires_at) > DatabaseClock(),
)
USED = {AuthorizationCode.used_at: DatabaseClock()}
SPEND = Statement(lambda: update(AuthorizationCode).where(*GOOD).values(USED))
"""Makes of a good code a used one: once."""
NOTE = Statement(
    lambda: (
        update(AuthorizationCode)
        .where(_PRESENTED)
        .values({AuthorizationCode.session_id: bindparam("session_id")})
    )
)
"""What a replay of the code will end."""
_JOINED = Statement(lambda: select_of(AuthorizationCode.session_id).where(_PRESENTED))


def session_of(work: Work, code: Code) -> str | None:
    """The session of the code's first use."""
    rows = execute(work, _JOINED, {"digest": code.digest}).fetchall()
    return rows[0][0] if rows else None


def prune(session: Session) -> int:
    over = col(AuthorizationCode.expires_at) < utcnow() - KEPT
    return delete_some(session, AuthorizationCode, over)
