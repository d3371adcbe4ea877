"""Refresh-token rotation (RFC 9700 §4.14.2): one rule, at two speeds.

Every use swaps the token for a new one. A client whose answer got lost may use the token it has
again: within the retry window, while nobody has used its successor, it gets another successor and
the unused one dies. Any other use of a spent token means that two parties hold it: the session
ends. Ages go by the database's clock, for replicas' own differ.

A rotation holds the session, spends the token, and gives it a successor. `swap` does the three at
once, for the plain case: a token that was never used, of a session that lives. `rotate` does them
one by one within the caller's unit of work, and decides everything.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlmodel import Session, col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.errors import InvalidGrant
from identity.opaque import digest, mint
from identity.records import audit
from identity.store import (
    Database,
    Statement,
    document,
    execute,
    insert_of,
    moment,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock, database_time
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.beginning import PREFIX
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.table import Family, LoginSession, RefreshToken

CLOCKS_DIFFER = timedelta(seconds=5)
"""A use that lies this far ahead at the most is taken for one of this moment; one further ahead is
a clock that was set back, and proves nothing against anybody."""

_UNUSED = col(RefreshToken.spent_at).is_(None)
_PRESENTED = col(RefreshToken.digest) == bindparam("digest")


def _lives(now: Any) -> ColumnElement[bool]:
    return and_(col(LoginSession.ended_at).is_(None), col(LoginSession.expires_at) > now)


def _usable(now: Any) -> ColumnElement[bool]:
    return and_(_UNUSED, col(RefreshToken.expires_at) > now, _lives(now))


_NOW: BindParameter[datetime] = bindparam("now")
_LOOK = Statement(
    lambda: (
        select_of(
            LoginSession.id,
            LoginSession.user_id,
            LoginSession.client_id,
            func.coalesce(Family.scope, LoginSession.scope),
            func.coalesce(Family.audience, LoginSession.audience),
            func.coalesce(Family.amr, LoginSession.amr),
            func.coalesce(Family.authenticated_at, LoginSession.created_at),
            LoginSession.expires_at,
            RefreshToken.issued_at,
            RefreshToken.expires_at,
            _usable(_NOW),
            col(LoginSession.browser_session_id).is_not(None),
            RefreshToken.family_id,
            func.coalesce(Family.acr, LoginSession.acr),
            Family.claims,
            func.coalesce(Family.jkt, LoginSession.jkt),
            Family.authorization_details,
        )
        .join_from(RefreshToken, LoginSession)
        .outerjoin(Family, col(Family.id) == col(RefreshToken.family_id))
        .where(_PRESENTED)
    )
)
HOLD = Statement(
    lambda: (
        update(LoginSession)
        .where(col(LoginSession.id) == bindparam("session"), _lives(_NOW))
        .values(
            {
                LoginSession.last_used_at: bindparam("now"),
                LoginSession.access_expires_at: bindparam("access_expires_at"),
            }
        )
    )
)
"""Takes the session's row, unless it has ended: rotations of one session queue up here."""
_SPEND = Statement(
    lambda: (
        update(RefreshToken)
        .where(_PRESENTED, _UNUSED)
        .values(
            {
                RefreshToken.spent_at: DatabaseClock(),
                RefreshToken.spent: "rotated",
                RefreshToken.successor: bindparam("successor"),
            }
        )
    )
)
_SPEND_AGAIN = Statement(
    lambda: (
        update(RefreshToken)
        .where(_PRESENTED)
        .values({RefreshToken.successor: bindparam("successor")})
    )
)
"""Of a retry: it stays spent since its first use."""
_SUPERSEDE = Statement(
    lambda: (
        update(RefreshToken)
        .where(col(RefreshToken.digest) == bindparam("successor"), _UNUSED)
        .values({RefreshToken.spent_at: bindparam("now"), RefreshToken.spent: "superseded"})
    )
)
_SUCCESSOR: dict[Any, str] = {
    RefreshToken.digest: "successor",
    RefreshToken.session_id: "session",
    RefreshToken.issued_at: "now",
    RefreshToken.expires_at: "expires_at",
    RefreshToken.status_index: "status_index",
    RefreshToken.family_id: "family_id",
}
_SUCCEED = Statement(lambda: insert_of(RefreshToken, _SUCCESSOR))


def _at_once() -> Any:
    """PostgreSQL's one statement for the three: nothing is written where a row is not as it must
    be."""
    held = HOLD.core("postgresql").returning(LoginSession.id).cte("held")
    spend = _SPEND.core("postgresql").where(exists(select(held)))
    spent = spend.returning(RefreshToken.digest).cte("spent")
    values = [value_of(c, name) for c, name in _SUCCESSOR.items()]
    return insert(RefreshToken).from_select([*_SUCCESSOR], select(*values).select_from(spent))


_ONE_BY_ONE = (HOLD, _SPEND, _SUCCEED)
_AT_ONCE = Statement(_at_once, "postgresql")


@dataclass(frozen=True, slots=True)
class Login:
    """A session as far as a refresh needs it, and the token presented."""

    id: str
    user_id: str
    client_id: str
    scope: str
    audience: str
    amr: list[str]
    authenticated_at: datetime
    expires_at: datetime
    token_issued_at: datetime
    token_expires_at: datetime
    unused: bool
    """Whether the token presented was still unused, in a session that lives."""
    online: bool
    """It ends with a browser session."""
    family_id: str | None
    acr: str | None
    claims: dict[str, Any] | None
    jkt: str | None
    """What the token is bound to (`tokens.binding`)."""
    authorization_details: list[dict[str, Any]]


async def look(db: Database, token: str) -> Login | None:
    """The session of `token`; None where no such token is known."""
    rows = await db.query(_LOOK, {"digest": digest(token), "now": utcnow()})
    if not rows:
        return None
    id_, user_id, client_id, scope, audience, amr, authenticated, expires, *more = rows[0]
    issued, ends, unused, online, family_id, acr, claims, jkt, details = more
    return Login(
        id=id_,
        user_id=user_id,
        client_id=client_id,
        scope=scope,
        audience=audience,
        amr=document(amr),
        authenticated_at=moment(authenticated),
        expires_at=moment(expires),
        token_issued_at=moment(issued),
        token_expires_at=moment(ends),
        unused=bool(unused),
        online=bool(online),
        family_id=family_id,
        acr=acr,
        claims=document(claims),
        jkt=jkt,
        authorization_details=document(details) or [],
    )


async def swap(
    db: Database, lifetimes: Lifetimes, token: str, login: Login, status_index: int
) -> str | None:
    """The successor of `token`, durable; None where somebody was quicker, and nothing changed."""
    successor = mint(PREFIX)
    values = _values(lifetimes, token, successor, login, login.family_id, status_index)
    done = await db.apply(sqlite=_ONE_BY_ONE, postgresql=_AT_ONCE, values=values)
    return successor if done else None


def _values(
    lifetimes: Lifetimes,
    token: str,
    successor: str,
    login: Login | LoginSession,
    family_id: str | None,
    status_index: int | None,
) -> dict[str, Any]:
    now = utcnow()
    return {
        "digest": digest(token),
        "session": login.id,
        "successor": digest(successor),
        "now": now,
        "access_expires_at": now + lifetimes.access,
        "expires_at": min(now + lifetimes.unused(online=login.online), login.expires_at),
        "status_index": status_index,
        "family_id": family_id,
    }


def find(session: Session, token: str) -> tuple[RefreshToken, LoginSession] | None:
    """The stored token and its session, in whatever state they are."""
    query = select(RefreshToken, LoginSession).join(LoginSession)
    row = session.execute(query.where(_PRESENTED), {"digest": digest(token)}).first()
    return None if row is None else (row[0], row[1])


def rotate(
    session: Session, lifetimes: Lifetimes, token: str, status_index: int | None = None
) -> str:
    """Swap `token` for its successor, or raise `InvalidGrant`; a replay ends the session."""
    found = find(session, token)
    if found is None:
        raise InvalidGrant("the refresh token is not valid", audit="unknown")
    presented, login = found
    successor = mint(PREFIX)
    values = _values(lifetimes, token, successor, login, presented.family_id, status_index)
    if not _done(session, HOLD, values):
        raise InvalidGrant("the session has ended", audit=f"session {login.id} has ended")
    session.refresh(presented)  # as of now that the session is ours
    if presented.expires_at <= values["now"] and presented.spent_at is None:
        raise InvalidGrant("the refresh token has expired")
    spend = _SPEND
    if presented.spent_at is not None:
        _retry_or_replay(session, lifetimes.retry, presented, login)
        spend = _SPEND_AGAIN
    for step in (spend, _SUCCEED):
        if not _done(session, step, values):
            raise AssertionError("somebody else has changed what hangs on the session's row")
    return successor


def _done(session: Session, step: Statement, values: dict[str, Any]) -> bool:
    return execute(session, step, values).rowcount == 1


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
        values = {"successor": presented.successor, "now": utcnow()}
        if _done(session, _SUPERSEDE, values):
            return
    lifecycle.end(session, login.id, "refresh token replayed")
    audit.record(
        session, "refresh_token.replayed", outcome="refused",
        subject=login.user_id, client_id=login.client_id, sid=login.id,
    )  # fmt: skip
    raise InvalidGrant("the refresh token is not valid", audit=f"replay in session {login.id}")
