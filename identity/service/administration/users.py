"""Acts on users."""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel import Session

from identity.authentication import browser
from identity.authentication.mail import resetting
from identity.authentication.mail.outbox import Outbox
from identity.authentication.passwords import policy
from identity.clock import utcnow
from identity.directory.access.authority import Held
from identity.directory.users import accounts, names, profile
from identity.directory.users.table import User
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.http.preconditions import check_unchanged
from identity.records import audit
from identity.service.wiring import Services
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import LoginSession
from identity.tokens.withdrawing import withdraw

BY_ADMIN = "ended by an administrator"


class OneTime(NamedTuple):
    password: str
    expires_at: datetime


async def hashed(
    services: Services, username: str, email: str | None, password: str | None
) -> str | None:
    """The hash of a new user's password, if they get one. Raises `ValidationFailed`."""
    if password is None:
        return None
    policy.check(password, username=username, email=email)
    return await services.login.hash(names.username(username), password)


def change(
    session: Session, user_id: str, patch: Mapping[str, Any], held: Held, if_match: str | None
) -> User:
    """A merge patch. Who is disabled loses all sessions at once."""
    user = accounts.get(session, user_id, lock=True)
    check_unchanged(if_match, user.version)
    fields = profile.patched(user, patch)
    accounts.update(session, user, fields, held)
    if "status" in fields:
        accounts.set_status(session, user, fields["status"], held)
    if user.status == "disabled":
        lifecycle.end_all(session, "user disabled", user_id=user.id)
    return user


def set_roles(
    session: Session, user_id: str, roles: Collection[str], held: Held, if_match: str | None
) -> User:
    user = accounts.get(session, user_id, lock=True)
    check_unchanged(if_match, user.version)
    accounts.set_roles(session, user, roles, held)
    return user


def delete(session: Session, user_id: str, held: Held, if_match: str | None) -> None:
    """All sessions end at once."""
    user = accounts.get(session, user_id, lock=True)
    check_unchanged(if_match, user.version)
    accounts.guard(session, user, held)
    lifecycle.end_all(session, "user deleted", user_id=user.id)
    accounts.remove(session, user, held)


async def reset_password(
    services: Services, user_id: str, password: str | None, held: Held
) -> OneTime:
    """A one-time password, random unless given; all sessions end."""

    def look(session: Session) -> User:
        user = accounts.get(session, user_id)
        accounts.guard(session, user, held)
        return user

    user = await services.db.read(look)
    if password is not None:
        policy.check(password, username=user.username, email=user.email)
    else:
        password = secrets.token_urlsafe(12)
    password_hash = await services.login.hash(user.username, password)
    expires = utcnow() + services.settings.passwords.one_time_password_ttl

    def unit(session: Session) -> None:
        user = accounts.get(session, user_id, lock=True)
        accounts.set_password_hash(
            session, user, password_hash, must_change=True, expires_at=expires, held=held
        )
        lifecycle.end_all(session, "password reset", user_id=user.id)

    await services.db.write(unit)
    return OneTime(password, expires)


def check_invitable(mails: Outbox, email: str | None, *, has_password: bool) -> None:
    """Of a user who is about to be created. Raises `ValidationFailed`."""
    if email is None or has_password:
        raise ValidationFailed([("/invite", "takes an e-mail address and no password")])
    if not mails.on:
        raise ValidationFailed([("/invite", "no mail can be sent: IDENTITY_SMTP_URL is not set")])


def invite(session: Session, mails: Outbox, user_id: str, held: Held) -> None:
    """A mail with a link, by which a user who has no password sets one; once more, perhaps."""
    user = accounts.get(session, user_id, lock=True)
    accounts.guard(session, user, held)
    if not mails.on or user.email is None or user.password_hash is not None:
        raise Conflict("the user has a password, or no address, or no mail can be sent")
    resetting.invite(session, mails, user)
    audit.record(session, "user.invited", subject=user.id)


def sign_out(session: Session, user_id: str, held: Held) -> int:
    """Everywhere; how many sessions at applications ended."""
    accounts.guard(session, accounts.get(session, user_id), held)
    return lifecycle.end_all(session, BY_ADMIN, user_id=user_id)


def end_session(session: Session, user_id: str, session_id: str, held: Held) -> None:
    accounts.guard(session, accounts.get(session, user_id), held)
    found = session.get(LoginSession, session_id)
    if found is None or found.user_id != user_id:
        raise NotFound("no such session")
    if not lifecycle.end(session, session_id, BY_ADMIN):
        raise NotFound("the session has ended already")


def end_browser_session(session: Session, user_id: str, session_id: str, held: Held) -> None:
    accounts.guard(session, accounts.get(session, user_id), held)
    if browser.find_of(session, user_id, session_id) is None:
        raise NotFound("there is no such session")
    if not browser.end(session, session_id, BY_ADMIN):
        raise NotFound("the session has ended already")


def withdraw_consent(session: Session, user_id: str, client_id: str, held: Held) -> None:
    accounts.guard(session, accounts.get(session, user_id), held)
    if not withdraw(session, user_id, client_id, "consent withdrawn by an administrator"):
        raise NotFound("the user has agreed to nothing there")
