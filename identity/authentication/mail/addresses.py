"""Another e-mail address: it counts once whoever reads its mails has said so, and whoever reads
those of the old one can take it back for a week. Each function is part of the caller's unit of
work."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from identity.authentication import securing
from identity.authentication.mail import limits, links
from identity.authentication.mail.links import MailLink
from identity.authentication.mail.outbox import Outbox
from identity.directory.users import accounts, names
from identity.directory.users.table import User
from identity.errors import TooManyRequests
from identity.records import audit


def by_mail(
    session: Session, mails: Outbox, user: User, changed: Mapping[str, Any]
) -> dict[str, Any]:
    """What of `changed`, which the user wants of their own account, may be done at once. A new
    address is asked for by mail, where mails can be sent; where there is to be none, the one of
    before hears of it. Raises as `ask`."""
    now = dict(changed)
    if not mails.on or not accounts.other_email(user, changed):
        return now
    if changed["email"]:
        ask(session, mails, user, now.pop("email"))
    elif user.email is not None:
        mails.write(session, "email_changed", to=user.email, user_id=user.id, locale=user.locale)
    return now


def ask(session: Session, mails: Outbox, user: User, address: str) -> None:
    """A mail to `address`, whether or not somebody has it already: who asks is told the same.
    `ValidationFailed` for what is no address, `TooManyRequests`."""
    address = names.email(address)
    _count(session, mails, "change_email", address)
    holder = accounts.find_by_login(session, address)
    if holder is None or holder.id == user.id:
        mails.write(session, "change_email", to=address, user_id=user.id, locale=user.locale)
    else:
        mails.write(session, "email_taken", to=address, user_id=holder.id, locale=holder.locale)
    audit.record(session, "email_change.asked", subject=user.id)


def ask_verification(session: Session, mails: Outbox, user: User) -> None:
    """A mail by which the user shows that theirs is the address. `TooManyRequests`."""
    if user.email is not None and not user.email_verified:
        _count(session, mails, "verify", user.email)
        mails.write(session, "verify", to=user.email, user_id=user.id, locale=user.locale)


def confirm(session: Session, mails: Outbox, link: MailLink, user: User) -> None:
    """`link` has just been used. `Conflict` where somebody else has the address by now."""
    old = user.email
    accounts.update(session, user, {"email": link.address, "email_verified": True}, None)
    if old is not None and old != link.address:
        mails.write(session, "email_changed", to=old, user_id=user.id, locale=user.locale)


def undo(session: Session, link: MailLink, user: User) -> str:
    """What goes on to a new password: whoever made the change may know the old one."""
    accounts.update(session, user, {"email": link.address, "email_verified": True}, None)
    links.forget_later(session, link)
    audit.record(session, "email_change.undone", subject=user.id)
    securing.secure(session, user)
    return links.to_go_on(session, user, link.address)


def _count(session: Session, mails: Outbox, kind: str, address: str) -> None:
    if not limits.within(session, kind, mails.target(address)):
        seconds = int(limits.TO_ONE[1].total_seconds())
        raise TooManyRequests(seconds, audit=f"too many mails: {kind}")
