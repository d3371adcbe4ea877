"""Making an account for oneself, where `IDENTITY_SIGN_UP` allows it: first whoever wants one shows
that the e-mail address is theirs, and only then is there anything of them here.

What their link says is the address and until when it is good, under the master key: nothing is
stored before it comes back. The address can be an account's once, and so the link is good once.
"""

import hmac
from datetime import timedelta
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from identity.authentication.mail import limits
from identity.authentication.mail.kinds import SIGN_UP
from identity.authentication.mail.outbox import Outbox
from identity.clock import now
from identity.directory.users import accounts, names
from identity.directory.users.table import User
from identity.errors import Conflict, ValidationFailed
from identity.keys.master import MasterKey
from identity.records import audit
from identity.store import Work
from identity.tokens import lockdown
from identity.verifier.gate.encoding import b64url_decode, b64url_encode

PREFIX: Final = "su_"
LONGEST: Final = 600
LONGEST_ADDRESS: Final = 254
"""Characters (RFC 5321 §4.5.3.1)."""


def ask(work: Work, mails: Outbox, address: str, locale: str) -> None:
    """A mail to `address`, which `names.email` has let pass. Nobody is looked up before it is sent,
    so that neither words nor time tell whether there is such an account; what is too much is
    dropped in silence."""
    if limits.within(work, "sign_up", mails.target(address)):
        mails.write(work, "sign_up", to=address, locale=locale)


def token(master: MasterKey, address: str) -> str:
    """What the link in the mail to `address` says."""
    ends = int(now() + SIGN_UP.good_for / timedelta(seconds=1))
    said = f"{ends:x}.{b64url_encode(address.encode()).decode()}"
    return f"{PREFIX}{said}.{_sealed(master.derive('sign up'), said)}"


def address_of(master: MasterKey, text: str) -> str | None:
    """Whose link it is, if it is one of ours and has not ended."""
    if not text.startswith(PREFIX) or len(text) > LONGEST or not text.isascii():
        return None
    said, _dot, seal = text.removeprefix(PREFIX).rpartition(".")
    seals = (_sealed(key, said) for key in master.derive_all("sign up"))
    if not any(hmac.compare_digest(each, seal) for each in seals):
        return None
    ends, _dot, address = said.partition(".")
    return b64url_decode(address.encode()).decode() if int(ends, 16) > now() else None


def is_anothers(username: str, address: str) -> bool:
    """Whether a username looks like an e-mail address that nobody has shown to be theirs. Whoever
    had it would keep its owner out, and be taken for them."""
    return "@" in username and names.login_key(username) != names.login_key(address)


def is_taken(session: Session, address: str) -> bool:
    return accounts.find_by_login(session, address) is not None


def create(
    session: Session, address: str, username: str, password_hash: str, locale: str | None
) -> User:
    """The account of whoever has shown that `address` is theirs; it may do nothing yet. `Conflict`
    where the username is taken, or the address by now; `ValidationFailed`; `LockedDown`."""
    lockdown.look(session).check(())
    username = names.username(username)
    if is_anothers(username, address):
        raise ValidationFailed([("/username", "is an e-mail address of somebody else")])
    if is_taken(session, address):
        raise Conflict("the e-mail address is taken")
    user = accounts.create(
        session,
        username=username,
        email=address,
        email_verified=True,
        password_hash=password_hash,
        known={"locale": locale} if locale else None,
    )
    audit.record(session, "user.signed_up", subject=user.id)
    return user


def _sealed(key: bytes, said: str) -> str:
    return b64url_encode(hmac.digest(key, said.encode(), sha256)).decode()
