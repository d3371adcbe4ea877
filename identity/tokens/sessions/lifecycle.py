"""How long sessions live, and how they end. Each function is part of the caller's unit of work.

A session's row is the one lock of all that happens to it: a refresh and an end both begin with a
conditional write to it, so whichever commits first decides.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlmodel import Session, col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.clients.settings import ClientSettings
from identity.errors import NotFound
from identity.records import audit
from identity.settings import Settings
from identity.store import changes, delete_some, select_of
from identity.tokens import logouts, pushed
from identity.tokens.devices.table import DeviceAuthorization
from identity.tokens.exchanged import revoke_of_client
from identity.tokens.sessions.ends import show_ended
from identity.tokens.sessions.table import BrowserSession, Family, LoginSession

BROWSER_CHANGED = "browser_session.changed"
"""Its ref is the digest of a cookie, which says nothing to whoever reads it."""


@dataclass(frozen=True)
class Lifetimes:
    access: timedelta
    idle: timedelta
    absolute: timedelta
    retry: timedelta
    """For how long a lost answer may be asked for again."""
    online: timedelta
    """As `idle`, of a session below a browser session, which ends when nobody uses it."""

    def unused(self, *, online: bool) -> timedelta:
        """How long a refresh token may lie unused."""
        return min(self.idle, self.online) if online else self.idle

    def at(self, client: ClientSettings) -> "Lifetimes":
        """Of this client, which may have less than all, and never more."""
        if not (said := client.lifetimes):
            return self
        lives = {name: timedelta(seconds=seconds) for name, seconds in said.items()}
        return replace(
            self,
            access=min(self.access, lives.get("access_token", self.access)),
            idle=min(self.idle, lives.get("refresh_token", self.idle)),
            absolute=min(self.absolute, lives.get("session", self.absolute)),
        )

    @classmethod
    def of(cls, settings: Settings) -> "Lifetimes":
        sessions = settings.sessions
        return cls(
            access=settings.tokens.access_token_ttl,
            idle=sessions.refresh_token_ttl,
            absolute=sessions.session_ttl,
            retry=sessions.refresh_retry_window,
            online=sessions.browser_session_idle,
        )


def end(session: Session, session_id: str, reason: str) -> bool:
    """End one session: its refresh tokens and access tokens are dead once this commits."""
    ended = session.execute(
        update(LoginSession)
        .where(col(LoginSession.id) == session_id, col(LoginSession.ended_at).is_(None))
        .values(ended_at=utcnow(), end_reason=reason)
    )
    if ended.rowcount != 1:  # type: ignore[attr-defined]
        return False
    changes.record(session, "session.ended", session_id)
    show_ended(session, [session_id])
    logouts.note(session, [session_id])
    audit.record(session, "session.ended", subject=session_id, reason=reason)
    return True


def end_of(session: Session, user_id: str, session_id: str, reason: str) -> None:
    """End one of this user's. `NotFound` where there is none that has not ended."""
    mine = select_of(LoginSession.id).where(
        col(LoginSession.id) == session_id, col(LoginSession.user_id) == user_id
    )
    if session.scalar(mine) is None:
        raise NotFound("no such session")
    if not end(session, session_id, reason):
        raise NotFound("the session has ended already")


def end_all(
    session: Session,
    reason: str,
    *,
    user_id: str | None = None,
    client_id: str | None = None,
    audiences: Iterable[str] | None = None,
    browser_session_id: str | None = None,
    ids: Collection[str] | None = None,
    keep: Iterable[str | None] = (),
    keep_browser: str | None = None,
) -> int:
    """End every session of a user, client or browser session, or those of `ids`, for `audiences`
    alone where they are given, but those in `keep`; returns how many. A user's browser sessions
    end along, unless one in `keep` hangs on them. `keep_browser`: a browser session that goes on,
    and all that hangs on it."""
    kept = [each for each in keep if each is not None]
    if user_id is not None and client_id is None and audiences is None:
        _sign_out(session, reason, user_id, kept, keep_browser)
    if audiences is None:
        _forget_allowed(session, user_id, client_id)
    if client_id is not None and user_id is None and audiences is None:
        revoke_of_client(session, client_id)
        pushed.forget(session, client_id)
    mine: list[ColumnElement[bool]] = [col(LoginSession.ended_at).is_(None)]
    if user_id is not None:
        mine.append(col(LoginSession.user_id) == user_id)
    if client_id is not None:
        mine.append(col(LoginSession.client_id) == client_id)
    if audiences is not None:
        mine.append(_is_for(list(audiences)))
    if browser_session_id is not None:
        mine.append(col(LoginSession.browser_session_id) == browser_session_id)
    if ids is not None:
        mine.append(col(LoginSession.id).in_(ids))
    mine.append(col(LoginSession.id).not_in(kept))
    if keep_browser is not None:
        elsewhere = col(LoginSession.browser_session_id).is_distinct_from(keep_browser)
        mine.append(elsewhere)
    now = utcnow()
    ended = session.execute(
        update(LoginSession)
        .where(*mine)
        .values(ended_at=now, end_reason=reason)
        .returning(
            col(LoginSession.id),
            col(LoginSession.access_expires_at),
            col(LoginSession.client_id),
        )
    ).all()
    # Others may hold a live token of these.
    recent = [row[0] for row in ended if row[1] >= now - timedelta(minutes=1)]
    for session_id in recent:
        changes.record(session, "session.ended", session_id)
    show_ended(session, recent)
    if ended:
        told = logouts.wanting(session, {row[2] for row in ended})
        logouts.note(session, [row[0] for row in ended if row[2] in told])
        audit.record(
            session, "sessions.ended", subject=user_id, client_id=client_id,
            reason=reason, count=len(ended),
        )  # fmt: skip
    return len(ended)


def _is_for(audiences: list[str]) -> ColumnElement[bool]:
    """A session for one of these, or one of whose codes was."""
    theirs = select_of(Family.id).where(
        col(Family.session_id) == col(LoginSession.id), col(Family.audience).in_(audiences)
    )
    return or_(col(LoginSession.audience).in_(audiences), theirs.exists())


def _forget_allowed(session: Session, user_id: str | None, client_id: str | None) -> None:
    """Devices of this user or client that have not used yet what they were allowed. After browser
    sessions have ended: whoever allows something holds theirs."""
    theirs: list[ColumnElement[bool]] = [col(DeviceAuthorization.used_at).is_(None)]
    if user_id is not None:
        theirs.append(col(DeviceAuthorization.user_id) == user_id)
    if client_id is not None:
        theirs.append(col(DeviceAuthorization.client_id) == client_id)
    if len(theirs) > 1:
        session.execute(delete(DeviceAuthorization).where(*theirs))


def _sign_out(
    session: Session, reason: str, user_id: str, keep: Sequence[str], keep_browser: str | None
) -> None:
    kept = select_of(LoginSession.browser_session_id).where(
        col(LoginSession.id).in_(keep), col(LoginSession.browser_session_id).is_not(None)
    )
    ended = session.execute(
        update(BrowserSession)
        .where(
            col(BrowserSession.user_id) == user_id,
            col(BrowserSession.ended_at).is_(None),
            col(BrowserSession.id).not_in(kept),
            col(BrowserSession.id).is_distinct_from(keep_browser),
        )
        .values(ended_at=utcnow(), end_reason=reason)
        .returning(col(BrowserSession.digest))
        .execution_options(synchronize_session=False)
    )
    for (cookie_digest,) in ended.all():
        changes.record(session, BROWSER_CHANGED, cookie_digest)


def live_of(session: Session, user_id: str) -> list[LoginSession]:
    """The user's sessions that have neither ended nor expired, newest first."""
    return list(
        session.scalars(
            select(LoginSession)
            .where(
                col(LoginSession.user_id) == user_id,
                col(LoginSession.ended_at).is_(None),
                col(LoginSession.expires_at) > utcnow(),
            )
            .order_by(col(LoginSession.id).desc())
        ).all()
    )


def prune(session: Session) -> int:
    """Forget sessions a week after they ended or expired; their refresh tokens go along."""
    horizon = utcnow() - timedelta(days=7)
    over = (col(LoginSession.expires_at) < horizon) | (col(LoginSession.ended_at) < horizon)
    return delete_some(session, LoginSession, over)
