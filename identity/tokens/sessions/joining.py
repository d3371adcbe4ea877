"""Sessions that a code begins or joins, as part of the unit of work that redeems it.

Below one browser session a client has one session, and one `sid`: each code that it redeems adds a
family of refresh tokens, with the scope, audience and `auth_time` of that code. They end together,
with the browser session at the latest. A code with `offline_access` makes a session that hangs on
nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, update
from sqlmodel import col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.errors import InvalidGrant
from identity.opaque import digest, mint, new_id
from identity.records import audit
from identity.store import (
    Statement,
    StatementBy,
    Work,
    execute,
    insert_for,
    insert_of,
    moment,
    select_of,
    value_of,
)
from identity.tokens.codes import Code
from identity.tokens.sessions.lifecycle import PREFIX, Lifetimes
from identity.tokens.sessions.table import BrowserSession, Family, LoginSession, RefreshToken

_BELOW = (
    col(LoginSession.browser_session_id) == bindparam("browser_session_id"),
    col(LoginSession.client_id) == bindparam("client_id"),
    col(LoginSession.ended_at).is_(None),
)
_SESSION: dict[Any, str] = {
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
    LoginSession.browser_session_id: "below",
    LoginSession.signed_in_at: "browser_session_id",
}
_HOLD = Statement(
    lambda: (
        select_of(User.id)
        .select_from(User, Client, BrowserSession)
        .where(
            col(User.id) == bindparam("user_id"),
            col(User.status) == "active",
            col(Client.id) == bindparam("client_id"),
            col(Client.status) == "active",
            col(BrowserSession.id) == bindparam("browser_session_id"),
            col(BrowserSession.ended_at).is_(None),
            col(BrowserSession.expires_at) > bindparam("now"),
        )
        .with_for_update(read=True)
    )  # so that they stay as they are until we commit
)


def _later(column: Any) -> Any:
    now, then = col(column), value_of(column, column.key)
    return case((now > then, now), else_=then)


def _joined() -> Any:
    """A code is a sign-in of its own: where the client's sessions are short it lasts anew."""
    return (
        update(LoginSession)
        .where(*_BELOW, col(LoginSession.expires_at) > bindparam("now"))
        .values(
            {
                LoginSession.last_used_at: bindparam("now"),
                LoginSession.access_expires_at: _later(LoginSession.access_expires_at),
                LoginSession.expires_at: _later(LoginSession.expires_at),
            }
        )
        .returning(col(LoginSession.id), col(LoginSession.expires_at))
    )


_JOIN = Statement(_joined)
_EXPIRE = Statement(
    lambda: (
        update(LoginSession)
        .where(*_BELOW, col(LoginSession.expires_at) <= bindparam("now"))
        .values(
            {
                LoginSession.ended_at: col(LoginSession.expires_at),
                LoginSession.end_reason: "expired",
            }
        )
    )
)
_BEGIN = StatementBy(
    lambda dialect: (
        insert_for(dialect, LoginSession)
        .values({column: bindparam(name) for column, name in _SESSION.items()})
        .on_conflict_do_nothing()
    )
)
_FAMILY = Statement(
    lambda: insert_of(
        Family,
        {
            Family.id: "id",
            Family.session_id: "session_id",
            Family.scope: "scope",
            Family.audience: "audience",
            Family.claims: "claims",
            Family.authorization_details: "authorization_details",
            Family.authenticated_at: "authenticated_at",
            Family.amr: "amr",
            Family.acr: "acr",
            Family.created_at: "now",
            Family.status_index: "status_index",
            Family.jkt: "jkt",
        },
    )
)
_FIRST = Statement(
    lambda: insert_of(
        RefreshToken,
        {
            RefreshToken.digest: "digest",
            RefreshToken.session_id: "session_id",
            RefreshToken.issued_at: "now",
            RefreshToken.expires_at: "expires_at",
            RefreshToken.family_id: "family_id",
        },
    )
)


class Joined(NamedTuple):
    """A session as the tokens of one code tell of it."""

    id: str
    family_id: str
    authenticated_at: datetime
    expires_at: datetime
    amr: list[str]
    acr: str | None


def join(
    work: Work,
    lifetimes: Lifetimes,
    code: Code,
    *,
    scope: str,
    audience: str,
    offline: bool,
    status_index: int,
    user_agent: str | None,
    jkt: str | None = None,
) -> Joined:
    """The session of a code that has just been spent, with a new family in it, bound to the key
    `jkt`. `InvalidGrant` where its user, client or browser session is gone or disabled by now."""
    now = utcnow()
    absolute = now + lifetimes.absolute
    values: dict[str, Any] = {
        "id": new_id(),
        "user_id": code.user_id,
        "client_id": code.client_id,
        "browser_session_id": code.browser_session_id,
        "below": None if offline else code.browser_session_id,
        "scope": scope,
        "audience": audience,
        "amr": list(code.amr),
        "now": now,
        "expires_at": absolute if offline else min(absolute, code.browser_expires_at),
        "access_expires_at": now + lifetimes.access,
        "address": audit.origin.get().address,
        "user_agent": user_agent[:200] if user_agent else None,
    }
    if not execute(work, _HOLD, values).fetchall():
        raise InvalidGrant("the code is not valid any more", audit="user, client or browser gone")
    session_id, expires_at = _session(work, values)
    family_id = add_family(
        work, session_id, scope=scope, audience=audience, claims=code.claims,
        details=code.authorization_details, authenticated_at=code.authenticated_at,
        amr=values["amr"], acr=code.acr, status_index=status_index, jkt=jkt,
    )  # fmt: skip
    return Joined(
        session_id, family_id, code.authenticated_at, expires_at, list(code.amr), code.acr
    )


def add_family(
    work: Work,
    session_id: str,
    *,
    scope: str,
    audience: str,
    authenticated_at: datetime,
    amr: list[str],
    acr: str,
    status_index: int,
    claims: dict[str, Any] | None = None,
    details: Sequence[Mapping[str, Any]] = (),
    jkt: str | None = None,
) -> str:
    """A further family of the session; its id."""
    family_id = new_id()
    family = {
        "id": family_id,
        "session_id": session_id,
        "scope": scope,
        "audience": audience,
        "claims": claims or None,
        "authorization_details": list(details) or None,
        "authenticated_at": authenticated_at,
        "amr": amr,
        "acr": acr,
        "now": utcnow(),
        "status_index": status_index,
        "jkt": jkt,
    }
    execute(work, _FAMILY, family)
    return family_id


def first_refresh_token(work: Work, idle: timedelta, joined: Joined) -> str:
    """The token that opens the family; shown once, its digest is kept."""
    token, now = mint(PREFIX), utcnow()
    values = {
        "digest": digest(token),
        "session_id": joined.id,
        "family_id": joined.family_id,
        "now": now,
        "expires_at": min(now + idle, joined.expires_at),
    }
    execute(work, _FIRST, values)
    return token


def _session(work: Work, values: dict[str, Any]) -> tuple[str, datetime]:
    """The client's session below the browser's, a new one where there is none."""
    for _ in range(2):
        if values["below"] is not None:
            found = execute(work, _JOIN, values).fetchall()
            if found:
                return found[0][0], moment(found[0][1])
            execute(work, _EXPIRE, values)
        if execute(work, _BEGIN, values).rowcount == 1:
            return values["id"], values["expires_at"]
    raise InvalidGrant("the code is not valid any more", audit="its session ends at this moment")
