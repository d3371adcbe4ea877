"""Sessions that a code begins or joins, as part of what redeems it (`redeeming`).

Below one browser session a client has one session, and one `sid`: each code that it redeems adds a
family of refresh tokens, with the scope, audience and `auth_time` of that code. They end together,
with the browser session at the latest. A code with `offline_access` makes a session that hangs on
nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, update
from sqlmodel import col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.errors import InvalidGrant
from identity.opaque import new_id
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
from identity.tokens.sessions import beginning
from identity.tokens.sessions.table import BrowserSession, Family, LoginSession

_BELOW = (
    col(LoginSession.browser_session_id) == bindparam("below"),
    col(LoginSession.client_id) == bindparam("client_id"),
    col(LoginSession.ended_at).is_(None),
)
OF_SESSION: dict[Any, str] = {
    **beginning.OF_SESSION,
    LoginSession.browser_session_id: "below",
    LoginSession.signed_in_at: "browser_session_id",
}
HOLD = Statement(
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


JOIN = Statement(_joined)
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
BEGIN = StatementBy(
    lambda dialect: (
        insert_for(dialect, LoginSession)
        .values({column: bindparam(name) for column, name in OF_SESSION.items()})
        .on_conflict_do_nothing()
    )
)
OF_FAMILY: dict[Any, str] = {
    Family.id: "family_id",
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
}
FAMILY = Statement(lambda: insert_of(Family, OF_FAMILY))


def join(work: Work, values: Mapping[str, Any]) -> tuple[str, datetime]:
    """The client's session below the browser's, a new one where there is none, and when it
    expires. `InvalidGrant` where user, client or browser session is gone or disabled by now."""
    if not execute(work, HOLD, values).fetchall():
        raise InvalidGrant("the code is not valid any more", audit="user, client or browser gone")
    for _ in range(2):
        if values["below"] is not None:
            found = execute(work, JOIN, values).fetchall()
            if found:
                return found[0][0], moment(found[0][1])
            execute(work, _EXPIRE, values)
        if execute(work, BEGIN, values).rowcount == 1:
            return values["id"], values["expires_at"]
    raise InvalidGrant("the code is not valid any more", audit="its session ends at this moment")


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
    jkt: str | None = None,
) -> str:
    """A further family of the session; its id."""
    family_id = new_id()
    family = {
        "family_id": family_id,
        "session_id": session_id,
        "scope": scope,
        "audience": audience,
        "claims": None,
        "authorization_details": None,
        "authenticated_at": authenticated_at,
        "amr": amr,
        "acr": acr,
        "now": utcnow(),
        "status_index": status_index,
        "jkt": jkt,
    }
    execute(work, FAMILY, family)
    return family_id
