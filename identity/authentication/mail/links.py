"""The links in mails: 256 bits each, of which the digest alone is stored.

A link is bound to a user, an address, a purpose and a password: once either of the last is another,
it does nothing (but what undoes a change of address, which whoever took the account must not be
able to prevent by the next change). To look at one uses nothing up, for programs look at every
link in a mail before people do; one conditional write uses it, on whichever replica.

What a link says is made from the mail's id under the master key, when the mail is sent: a mail that
is sent twice says the same, and nothing that waits in the outbox lets anybody in.
"""

import hmac
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import CursorResult, bindparam, update
from sqlmodel import Field, Session, col, delete, select

from identity.authentication.mail.kinds import PURPOSES, RESET, UNDO, Purpose
from identity.clock import utcnow
from identity.directory.users.table import User
from identity.keys.master import MasterKey
from identity.opaque import digest, mint
from identity.store import (
    Statement,
    Stored,
    UtcDateTime,
    Work,
    delete_some,
    execute,
    insert_on_conflict,
    select_of,
)
from identity.store.moments import database_time
from identity.verifier.gate.encoding import b64url_encode

PREFIX: Final = "ml"
LONGEST: Final = 100
"""Characters of what may be one."""
REMEMBERED: Final = timedelta(days=30)
"""How long one that is good no longer is known, so that its page can offer another."""


class MailLink(Stored, table=True):
    __tablename__ = "mail_link"

    digest: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    purpose: str
    address: str
    """The one that it was sent to."""
    password: str
    """Digest of the stored hash of the password of that moment."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def kind(self) -> Purpose:
        return PURPOSES[self.purpose]


def of_mail(
    session: Session, master: MasterKey, mail_id: str, purpose: Purpose, user: User, address: str
) -> str:
    """What the link of this mail says, good from now on for as long as it may be."""
    secret = hmac.digest(master.derive("mail link"), mail_id.encode(), sha256)
    return _keep(session, f"{PREFIX}_{b64url_encode(secret).decode()}", purpose, user, address)


def to_go_on(session: Session, user: User, address: str) -> str:
    """Of whoever has just used another link: a new password may be set."""
    return _keep(session, mint(PREFIX), RESET, user, address)


def _keep(session: Session, token: str, purpose: Purpose, user: User, address: str) -> str:
    now = database_time(session)
    values = {
        "digest": digest(token),
        "user_id": user.id,
        "purpose": purpose.name,
        "address": address,
        "password": _password_of(user),
        "created_at": now,
        "expires_at": now + purpose.good_for,
    }
    kept = insert_on_conflict(session, MailLink).values(**values)
    session.execute(
        kept.on_conflict_do_update(
            index_elements=[MailLink.digest], set_={"expires_at": values["expires_at"]}
        )
    )
    return token


def find(session: Session, token: str) -> tuple[MailLink, User] | None:
    """Whatever this was once, good or not."""
    if not 0 < len(token) <= LONGEST:
        return None
    query = select(MailLink, User).join(User).where(MailLink.digest == digest(token))
    return session.exec(query).first()


def good(session: Session, token: str, *purposes: Purpose) -> tuple[MailLink, User] | None:
    """The link and its user, if it may be used for one of `purposes`."""
    found = find(session, token)
    if found is None or not _holds(*found, purposes):
        return None
    return found


def use(session: Session, token: str, *purposes: Purpose) -> tuple[MailLink, User] | None:
    """The same, once; then the user's row is locked until the transaction ends."""
    found = find(session, token)
    if found is None:
        return None
    locked = select(User).where(User.id == found[1].id).with_for_update()
    user = session.exec(locked.execution_options(populate_existing=True)).first()
    if user is None or not _holds(found[0], user, purposes):
        return None
    unused = (
        update(MailLink)
        .where(
            col(MailLink.digest) == found[0].digest,
            col(MailLink.used_at).is_(None),
            col(MailLink.expires_at) > database_time(session),
        )
        .values(used_at=utcnow())
        .execution_options(synchronize_session=False)
    )
    outcome: CursorResult[Any] = session.execute(unused)  # type: ignore[assignment]
    return (found[0], user) if outcome.rowcount == 1 else None


def _holds(link: MailLink, user: User, purposes: tuple[Purpose, ...]) -> bool:
    if link.kind not in purposes or link.used_at is not None or link.expires_at <= utcnow():
        return False
    if user.status != "active":
        return False
    if link.kind.survives:
        return True
    here = link.kind.name == "change_email" or link.address == user.email
    return here and hmac.compare_digest(link.password, _password_of(user))


def _password_of(user: User) -> str:
    return digest(f"{user.id}\n{user.password_hash or ''}")


_OLD = Statement(
    lambda: select_of(MailLink.address).where(
        col(MailLink.user_id) == bindparam("user_id"),
        col(MailLink.purpose) == UNDO.name,
        col(MailLink.used_at).is_(None),
        col(MailLink.expires_at) > bindparam("now"),
    )
)


def old_addresses(work: Work, user_id: str) -> list[str]:
    """Those that could take a change back."""
    rows = execute(work, _OLD, {"user_id": user_id, "now": utcnow()}).fetchall()
    return sorted({address for (address,) in rows})


def forget_later(session: Session, link: MailLink) -> None:
    """Those of this user that are newer than `link`: of whoever came after."""
    later = delete(MailLink).where(
        col(MailLink.user_id) == link.user_id,
        col(MailLink.created_at) >= link.created_at,
        col(MailLink.digest) != link.digest,
    )
    session.execute(later.execution_options(synchronize_session=False))


def prune(session: Session) -> int:
    return delete_some(session, MailLink, col(MailLink.expires_at) < utcnow() - REMEMBERED)
