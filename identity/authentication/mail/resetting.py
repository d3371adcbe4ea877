"""A new password by mail. It changes the password and nothing else: second factors stay, nobody is
signed in, and whatever was signed in ends. Each function is part of the caller's unit of work."""

from sqlmodel import Session

from identity.authentication import securing
from identity.authentication.mail import limits, links
from identity.authentication.mail.kinds import INVITE, NOT_ME, RESET
from identity.authentication.mail.links import MailLink
from identity.authentication.mail.outbox import Outbox
from identity.authentication.throttle import account_key
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.store import Work
from identity.tokens.sessions import lifecycle

LONGEST = 320
"""Characters of what may name a user."""


def ask(work: Work, mails: Outbox, login: str) -> None:
    """For whomever this logs in. Nobody is looked up before the mail is sent, so that neither words
    nor time tell whether there is such a user; what is too much is dropped in silence."""
    login = login[:LONGEST]
    if limits.within(work, "reset", mails.target(account_key(login))):
        mails.write(work, "reset", to=login)


def set_password(session: Session, token: str, password_hash: str) -> bool:
    """Whether the link was good, and is now used. The user may be signing in for the first time."""
    used = links.use(session, token, RESET, INVITE)
    if used is None:
        return False
    link, user = used
    if link.kind == INVITE:
        accounts.update(session, user, {"email_verified": True}, None)
    accounts.set_password_hash(session, user, password_hash, must_change=False, held=None)
    lifecycle.end_all(session, "password reset", user_id=user.id)
    return True


def not_me(session: Session, token: str) -> str | None:
    """What goes on to a new password, of whoever says so; None where the link is good no longer."""
    used = links.use(session, token, NOT_ME)
    if used is None:
        return None
    link, user = used
    securing.secure(session, user)
    return links.to_go_on(session, user, link.address)


def invite(session: Session, mails: Outbox, user: User) -> None:
    """A mail to a user without a password, who sets one by it."""
    mails.write(session, "invitation", to=user.email, user_id=user.id, locale=user.locale)


def invite_again(session: Session, mails: Outbox, token: str) -> None:
    """For whoever has a link that has ended; in silence where it is none, or too much."""
    found: tuple[MailLink, User] | None = links.find(session, token)
    if found is None:
        return
    link, user = found
    waits = user.password_hash is None and user.status == "active" and user.email == link.address
    if link.kind == INVITE and waits and limits.within(session, "invitation", user.id):
        invite(session, mails, user)
