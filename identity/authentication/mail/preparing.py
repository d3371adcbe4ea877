"""From what waits in the outbox to what is sent: whom it is for now, and its link."""

from typing import Any, NamedTuple

from sqlmodel import Session

from identity.authentication.mail import limits, links, signing_up
from identity.authentication.mail.kinds import KINDS
from identity.authentication.mail.outbox import EXPIRED, Letter, Outbox, Taken
from identity.clock import utcnow
from identity.directory.branding.current import PLAIN, Brand, look
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.keys.master import MasterKey


class Ready(NamedTuple):
    mail_id: str
    kind: str
    to: str
    locale: str | None
    values: dict[str, Any]
    """What its template is told: `link` (a token, None where it has none) and `username` too."""
    brand: Brand = PLAIN


class Hopeless(Exception):
    """Sent or not, it would be of no use to anybody."""


class Nobody(Exception):
    """There is nobody to send it to, which who asked is not to find out."""


def ready(session: Session, mails: Outbox, master: MasterKey, taken: Taken) -> Ready:
    """Raises `Hopeless` and `Nobody`, and `SettingsError` where the master key is another."""
    if taken.sealed is None or (taken.expires_at is not None and taken.expires_at <= utcnow()):
        raise Hopeless(EXPIRED)
    kind, letter = KINDS[taken.kind], mails.open(taken.id, taken.sealed)
    if taken.kind == "sign_up":
        return _wanting(session, master, taken, letter)
    if taken.kind == "reset":
        user, to = _asked_for(session, mails, letter, first=taken.attempts == 1)
    else:
        user, to = _known(session, taken, letter, to_user=kind.to_user)
    link = None
    if kind.link is not None and user is not None and _leads(kind.name, user, to):
        link = links.of_mail(session, master, taken.id, kind.link, user, to)
    values = {**letter.values, "link": link, "username": user.username if user else None}
    spoken = user.locale if user is not None else None
    return Ready(taken.id, taken.kind, to, letter.locale or spoken, values, look(session))


def _wanting(session: Session, master: MasterKey, taken: Taken, letter: Letter) -> Ready:
    """Whoever wants an account may have one."""
    user = accounts.find_by_login(session, letter.to)
    if user is None:
        link = signing_up.token(master, letter.to)
        return Ready(taken.id, "sign_up", letter.to, letter.locale, {"link": link, "username": ""})
    told = {"link": None, "username": user.username}
    return Ready(taken.id, "account_there", letter.to, user.locale or letter.locale, told)


def _known(
    session: Session, taken: Taken, letter: Letter, *, to_user: bool
) -> tuple[User | None, str]:
    if taken.user_id is None:
        return None, letter.to
    user = session.get(User, taken.user_id)
    to = user.email if user is not None and to_user else letter.to
    if user is None or to is None:
        raise Nobody
    return user, to


def _asked_for(
    session: Session, mails: Outbox, letter: Letter, *, first: bool
) -> tuple[User | None, str]:
    """Whoever the name logs in that somebody typed. Counted by account too, which has two."""
    user = accounts.find_by_login(session, letter.to)
    if user is None or user.status != "active" or user.email is None:
        raise Nobody
    if first and not limits.to_one(session, "reset of account", user.id):
        raise Nobody
    return user, user.email


def _leads(kind: str, user: User, to: str) -> bool:
    """A notice to an old address tells, and opens nothing."""
    return kind in ("change_email", "email_changed") or to == user.email
