"""Browser sessions: a person signed in here, known by a cookie.

The cookie is opaque and only its digest is stored, so neither the table nor a backup of it signs
anybody in. It changes at every rise in privilege; the session behind it, and the `sid` that
clients know, stay (`tokens.sessions`).

What `/authorize` looks at is remembered under the cookie's digest, and the change feed keeps that
true. Each function that takes `Work` is part of the caller's unit of work.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, update
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.errors import Conflict, NotFound
from identity.opaque import digest, mint, new_id
from identity.records import audit
from identity.settings import Settings
from identity.store import (
    Database,
    Statement,
    Work,
    changes,
    delete_some,
    document,
    execute,
    insert_of,
    moment,
    select_of,
)
from identity.store.remembered import Remembered
from identity.tokens import lockdown, logouts
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.lifecycle import BROWSER_CHANGED
from identity.tokens.sessions.table import BrowserSession, LoginSession

PREFIX = "bs"
RARELY = timedelta(minutes=10)
"""How far behind `last_used_at` may be; as little as a minute where the idle time is short."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser session as far as requests look at it."""

    id: str
    digest: str
    user_id: str
    amr: tuple[str, ...]
    acr: str
    authenticated_at: datetime
    used_at: datetime
    """When it, or a refresh token below it, was last used, as far as has been noted."""
    expires_at: datetime


Browsers = Remembered[SignedIn]


@dataclass(frozen=True)
class BrowserLifetimes:
    idle: timedelta
    absolute: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "BrowserLifetimes":
        sessions = settings.sessions
        return cls(sessions.browser_session_idle, sessions.browser_session_ttl)

    @property
    def rarely(self) -> timedelta:
        return min(RARELY, self.idle / 12)


_LIVES = col(BrowserSession.ended_at).is_(None)
_LOAD = Statement(
    lambda: select_of(
        BrowserSession.id,
        BrowserSession.user_id,
        BrowserSession.amr,
        BrowserSession.acr,
        BrowserSession.authenticated_at,
        BrowserSession.last_used_at,
        BrowserSession.expires_at,
        select_of(func.max(LoginSession.last_used_at))
        .where(
            col(LoginSession.browser_session_id) == col(BrowserSession.id),
            col(LoginSession.ended_at).is_(None),
        )
        .scalar_subquery(),
    ).where(col(BrowserSession.digest) == bindparam("digest"), _LIVES)
)


async def load(db: Database, cookie_digest: str) -> SignedIn | None:
    """What the cookie of this digest stands for, whether or not it has lain unused too long."""
    rows = await db.query(_LOAD, {"digest": cookie_digest})
    if not rows:
        return None
    id_, user_id, amr, acr, authenticated, used, expires, below = rows[0]
    used_at = moment(used)
    return SignedIn(
        id=id_,
        digest=cookie_digest,
        user_id=user_id,
        amr=tuple(document(amr)),
        acr=acr,
        authenticated_at=moment(authenticated),
        used_at=max(used_at, moment(below)) if below else used_at,
        expires_at=moment(expires),
    )


async def find(browsers: Browsers, lifetimes: BrowserLifetimes, cookie: str) -> SignedIn | None:
    """Who is signed in with this cookie. The caller has awaited `feed.catch_up()`."""
    key = digest(cookie)
    known = browsers.at_hand(key) or await browsers.get(key)
    now = utcnow()
    if known is not None and known.used_at + lifetimes.idle <= now:
        # It may have been used elsewhere, or a refresh token below it.
        browsers.forget(key)
        known = await browsers.get(key)
    if known is None or known.expires_at <= now or known.used_at + lifetimes.idle <= now:
        return None
    return known


_STILL = Statement(
    lambda: select_of(BrowserSession.id).where(col(BrowserSession.id) == bindparam("id"), _LIVES)
)


async def lives(db: Database, session_id: str) -> bool:
    """Whether nobody has ended it, under whichever cookie it is known by now."""
    return bool(await db.query(_STILL, {"id": session_id}))


_PROVEN: dict[Any, str] = {
    BrowserSession.digest: "digest",
    BrowserSession.amr: "amr",
    BrowserSession.acr: "acr",
    BrowserSession.authenticated_at: "now",
    BrowserSession.last_used_at: "now",
    BrowserSession.address: "address",
    BrowserSession.user_agent: "user_agent",
}
"""What a person's proof of who they are writes, whether or not a session was there before."""
_BEGIN = Statement(
    lambda: insert_of(
        BrowserSession,
        {
            BrowserSession.id: "id",
            BrowserSession.user_id: "user_id",
            BrowserSession.created_at: "now",
            BrowserSession.expires_at: "expires_at",
            **_PROVEN,
        },
    )
)
_RENEW = Statement(
    lambda: (
        update(BrowserSession)
        .where(
            col(BrowserSession.digest) == bindparam("before"),
            col(BrowserSession.user_id) == bindparam("user_id"),
            _LIVES,
            col(BrowserSession.expires_at) > bindparam("now"),
        )
        .values({column: bindparam(name) for column, name in _PROVEN.items()})
    )
)
_USE = Statement(
    lambda: (
        update(BrowserSession)
        .where(
            col(BrowserSession.id) == bindparam("id"),
            _LIVES,
            col(BrowserSession.last_used_at) < bindparam("now"),
        )
        .values({BrowserSession.last_used_at: bindparam("now")})
    )
)


async def note_use(
    db: Database, browsers: Browsers, lifetimes: BrowserLifetimes, session: SignedIn
) -> None:
    """So that it does not lie unused: rarely a write, for what it decides is counted in hours."""
    now = utcnow()
    if now - session.used_at < lifetimes.rarely:
        return
    await db.apply(sqlite=[_USE], postgresql=_USE, values={"id": session.id, "now": now})
    browsers.forget(session.digest)


def sign_in(
    work: Work,
    lifetimes: BrowserLifetimes,
    *,
    user_id: str,
    amr: list[str],
    acr: str,
    before: SignedIn | None,
    user_agent: str | None,
) -> str:
    """The cookie of a person who has just proved who they are.

    `before`: the session that this browser had. If it is this person's it goes on under the new
    cookie; another's ends. Raises `LockedDown`.
    """
    lockdown.admit(work, user_id)
    cookie, now = mint(PREFIX), utcnow()
    values: dict[str, Any] = {
        "id": new_id(),
        "digest": digest(cookie),
        "user_id": user_id,
        "amr": amr,
        "acr": acr,
        "now": now,
        "expires_at": now + lifetimes.absolute,
        "address": audit.origin.get().address,
        "user_agent": user_agent[:200] if user_agent else None,
        "before": before.digest if before else None,
    }
    if before is not None and before.user_id == user_id:
        if execute(work, _RENEW, values).rowcount == 1:
            changes.record(work, BROWSER_CHANGED, before.digest)
            return cookie
    elif before is not None and isinstance(work, Session):
        end(work, before.id, "another person signed in")
    execute(work, _BEGIN, values)
    return cookie


_RENAME = Statement(
    lambda: (
        update(BrowserSession)
        .where(col(BrowserSession.digest) == bindparam("before"), _LIVES)
        .values({BrowserSession.digest: bindparam("digest")})
    )
)


def rename(work: Work, session: SignedIn) -> str:
    """Its new cookie: whoever else holds the one before has it no longer. Nothing was proved
    anew. `Conflict` where it has ended meanwhile."""
    cookie = mint(PREFIX)
    values = {"before": session.digest, "digest": digest(cookie)}
    if execute(work, _RENAME, values).rowcount != 1:
        raise Conflict("the session has ended meanwhile")
    changes.record(work, BROWSER_CHANGED, session.digest)
    return cookie


def end(session: Session, browser_session_id: str, reason: str) -> bool:
    """End it, and the sessions at clients that hang on it. False where it has ended before."""
    ended = session.execute(
        update(BrowserSession)
        .where(col(BrowserSession.id) == browser_session_id, col(BrowserSession.ended_at).is_(None))
        .values(ended_at=utcnow(), end_reason=reason)
        .returning(col(BrowserSession.digest), col(BrowserSession.user_id))
    ).first()
    if ended is None:
        return False
    changes.record(session, BROWSER_CHANGED, ended.digest)
    lifecycle.end_all(session, reason, browser_session_id=browser_session_id)
    logouts.note_signed_out(session, browser_session_id)
    audit.record(
        session, "browser_session.ended", subject=ended.user_id, reason=reason,
        browser_session=browser_session_id,
    )  # fmt: skip
    return True


def end_of(session: Session, user_id: str, browser_session_id: str, reason: str) -> None:
    """End one of this user's. `NotFound` where there is none that has not ended."""
    if find_of(session, user_id, browser_session_id) is None:
        raise NotFound("there is no such session")
    if not end(session, browser_session_id, reason):
        raise NotFound("the session has ended already")


def find_of(session: Session, user_id: str, browser_session_id: str) -> BrowserSession | None:
    """The session if it is this user's."""
    query = select(BrowserSession).where(
        BrowserSession.id == browser_session_id, BrowserSession.user_id == user_id
    )
    return session.exec(query).first()


def prune(session: Session) -> int:
    """Forget sessions a week after they ended or expired."""
    horizon = utcnow() - timedelta(days=7)
    over = (col(BrowserSession.expires_at) < horizon) | (col(BrowserSession.ended_at) < horizon)
    return delete_some(session, BrowserSession, over)
