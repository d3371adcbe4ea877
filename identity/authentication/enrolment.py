"""A way back for whoever has lost every second factor: a link that an administrator gives out.

It takes the place of what is lost and of nothing else. Whoever comes with it still gives the
password, and gets no session for that but a ticket, which is good for setting up one new factor in
this browser, as long as the password is that one. Until the new one is there the old ones go on, so
a link that was given out in error, or half used, has changed nothing; then they are gone, and every
session with them.

Link and ticket are 256 bits each, of which the digest alone is stored, and each is consumed by one
conditional write, on whichever replica. Each function is part of the caller's unit of work.
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import CursorResult, update
from sqlmodel import Field, Session, col, delete, select

from identity.authentication.second_factor import forget_all
from identity.clock import utcnow
from identity.directory.access.authority import Held
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.opaque import digest, mint
from identity.records import audit
from identity.store import Stored, UtcDateTime, delete_some
from identity.store.moments import database_time
from identity.tokens import lockdown
from identity.tokens.sessions import lifecycle

PAGE: Final = "/enrolment"
LIFE: Final = timedelta(hours=24)
TICKET: Final = timedelta(minutes=15)
LONGEST: Final = 150
"""Characters of what may be a link or a ticket."""
LONGEST_REASON: Final = 200
NOTHING_LOST: Final = "the user has no second factor: the password alone lets them in"
NOTHING_BESIDE: Final = "the user has no password: give them a one-time password first"
REMEMBERED: Final = timedelta(days=30)


class EnrolmentLink(Stored, table=True):
    __tablename__ = "enrolment_link"

    digest: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    redeemed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ticket: str | None = Field(default=None, unique=True, index=True)
    """Digest of the ticket and of the browser that has it."""
    ticket_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Issued(NamedTuple):
    token: str
    """Shown this once, to whoever hands it over."""
    expires_at: datetime

    def address(self, issuer: str) -> str:
        return f"{issuer.rstrip('/')}{PAGE}?token={self.token}"


# --- Who gives it out ---------------------------------------------------------------------------


def issue(session: Session, user: User, held: Held, reason: str) -> Issued:
    """The only one of this user that is good from now on; they are told at every address they have
    (`mail.kinds`). The user's row is locked. `Forbidden` for whoever holds less than the user,
    `Conflict` where there is nothing that a link could replace, `ValidationFailed`."""
    accounts.guard(session, user, held)
    reason = reason.strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        words = f"must be 1 to {LONGEST_REASON} characters"
        raise ValidationFailed([("/reason", words)])
    if user.status != "active":
        raise Conflict("the user is disabled")
    if not user.second_factor:
        raise Conflict(NOTHING_LOST)
    if user.password_hash is None:
        raise Conflict(NOTHING_BESIDE)
    _forget_open(session, user)
    token, now = mint("el"), database_time(session)
    link = EnrolmentLink(
        digest=digest(token), user_id=user.id, created_at=now, expires_at=now + LIFE
    )
    session.add(link)
    session.flush()
    audit.record(session, "enrolment_link.issued", subject=user.id, reason=reason)
    return Issued(token, link.expires_at)


def withdraw(session: Session, user: User, held: Held) -> None:
    """Neither link nor ticket is good any more. `NotFound` where there is none."""
    accounts.guard(session, user, held)
    if not _forget_open(session, user):
        raise NotFound("no link is open")
    audit.record(session, "enrolment_link.withdrawn", subject=user.id)


def open_until(session: Session, user_id: str) -> datetime | None:
    """Until when a link of theirs, or the ticket that it became, can be used."""
    query = select(EnrolmentLink).where(
        EnrolmentLink.user_id == user_id, col(EnrolmentLink.completed_at).is_(None)
    )
    ends = [each.ticket_expires_at or each.expires_at for each in session.exec(query)]
    return max((each for each in ends if each > utcnow()), default=None)


def _forget_open(session: Session, user: User) -> bool:
    gone = delete(EnrolmentLink).where(
        col(EnrolmentLink.user_id) == user.id, col(EnrolmentLink.completed_at).is_(None)
    )
    outcome: CursorResult[Any] = session.execute(gone)  # type: ignore[assignment]
    return outcome.rowcount > 0


# --- Who comes with it --------------------------------------------------------------------------


def good(session: Session, token: str) -> User | None:
    """Whose link it is, if it may be used. To look at it uses nothing up."""
    found = _find(session, col(EnrolmentLink.digest) == digest(token), token)
    if found is None:
        return None
    link, user = found
    fresh = link.redeemed_at is None and link.expires_at > utcnow()
    return user if fresh and user.status == "active" and user.second_factor else None


def redeem(session: Session, token: str, user_id: str, browser: str) -> str | None:
    """The ticket of this browser, for the link of whoever has just given the password of
    `user_id`; None where it is good no longer, or another's."""
    ticket, now = _with(mint("et"), accounts.get(session, user_id)), database_time(session)
    unused = (
        update(EnrolmentLink)
        .where(
            col(EnrolmentLink.digest) == digest(token),
            col(EnrolmentLink.user_id) == user_id,
            col(EnrolmentLink.redeemed_at).is_(None),
            col(EnrolmentLink.expires_at) > now,
        )
        .values(redeemed_at=now, ticket=_bound(ticket, browser), ticket_expires_at=now + TICKET)
        .execution_options(synchronize_session=False)
    )
    outcome: CursorResult[Any] = session.execute(unused)  # type: ignore[assignment]
    if outcome.rowcount != 1:
        return None
    audit.record(session, "enrolment_link.redeemed", subject=user_id)
    return ticket


def holder(session: Session, ticket: str, browser: str) -> User | None:
    """Whose ticket it is, in this browser, if it is good."""
    found = _find(session, col(EnrolmentLink.ticket) == _bound(ticket, browser), ticket)
    if found is None:
        return None
    link, user = found
    ends = link.ticket_expires_at
    fresh = link.completed_at is None and ends is not None and ends > utcnow()
    return user if fresh and _may_use(ticket, user) else None


def complete(session: Session, ticket: str, browser: str, user: User, *, keep_app: bool) -> None:
    """Use the ticket up: what was lost is gone, and all sessions end. The caller, who has locked
    the user's row, sets up what takes its place in the same unit of work; `keep_app`: that is an
    authenticator app, which waits. `NotFound` where the ticket is good no longer, `LockedDown`."""
    lockdown.admit(session, user.id)
    now = database_time(session)
    unused = (
        update(EnrolmentLink)
        .where(
            col(EnrolmentLink.ticket) == _bound(ticket, browser),
            col(EnrolmentLink.user_id) == user.id,
            col(EnrolmentLink.completed_at).is_(None),
            col(EnrolmentLink.ticket_expires_at) > now,
        )
        .values(completed_at=now)
        .execution_options(synchronize_session=False)
    )
    outcome: CursorResult[Any] = session.execute(unused)  # type: ignore[assignment]
    if outcome.rowcount != 1 or not _may_use(ticket, user):
        raise NotFound("the ticket is good no longer")
    forget_all(session, user, keep_app=keep_app)
    audit.record(session, "enrolment_link.completed", subject=user.id)
    lifecycle.end_all(session, "second factors lost", user_id=user.id)


def _find(session: Session, where: Any, text: str) -> tuple[EnrolmentLink, User] | None:
    if not 0 < len(text) <= LONGEST:
        return None
    return session.exec(select(EnrolmentLink, User).join(User).where(where)).first()


def _with(secret: str, user: User) -> str:
    """A ticket: the secret, and which password it was given for. It is stored whole."""
    return f"{secret}.{digest(f'{secret} {user.password_hash}')}"


def _may_use(ticket: str, user: User) -> bool:
    """Whoever got it by a password that has been changed since is nobody whom we know."""
    return user.status == "active" and ticket == _with(ticket.partition(".")[0], user)


def _bound(ticket: str, browser: str) -> str:
    return digest(f"{ticket}\n{browser}")


def prune(session: Session) -> int:
    return delete_some(
        session, EnrolmentLink, col(EnrolmentLink.expires_at) < utcnow() - REMEMBERED
    )
