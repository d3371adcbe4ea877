"""Changing one's own password: prove the old one, set the new one, end what others may hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlmodel import Session

from identity.authentication.password import WRONG, Account, PasswordLogin, Proven
from identity.authentication.passwords import policy
from identity.authentication.passwords.preparing import prepare
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import (
    Conflict,
    Forbidden,
    InvalidGrant,
    InvalidRequest,
    NotFound,
    ValidationFailed,
)
from identity.records import audit
from identity.tokens.sessions import lifecycle

T = TypeVar("T")
SAME = "The new password is the current one."


async def change(
    passwords: PasswordLogin,
    login: str,
    current: str,
    new: str,
    then: Callable[[Session, Proven], T],
    *,
    user_id: str | None = None,
    keep: str | None = None,
    alone: int = policy.MIN_CHARACTERS,
) -> T:
    """All sessions end but `keep`; what `then` returns, in the same unit of work. The caller has
    awaited `feed.catch_up()`.

    `user_id`: whose password it has to be, where that is known. `alone`: how many characters it
    must have where it is all that lets its user in. `ValidationFailed`, `Forbidden` where the
    current one is wrong, and what slows guessing down.
    """
    policy.check(new, username=login, pointer="/new_password")
    proven = await prove(passwords, login, current, user_id)
    user = proven.user
    _check(new, user, alone)
    if prepare(new) == prepare(current):
        raise ValidationFailed([("/new_password", SAME)])
    password_hash = await passwords.hash(login, new)
    audit.act_as("user", user.id)

    def unit(session: Session) -> T:
        passwords.settle(session, proven)
        row = accounts.get(session, user.id, lock=True)
        accounts.set_password_hash(session, row, password_hash, must_change=False, held=None)
        lifecycle.end_all(session, "password changed", user_id=user.id, keep=[keep])
        return then(session, proven)

    with in_our_words():
        return await passwords.db.write(unit)


async def renew(
    passwords: PasswordLogin,
    login: str,
    new: str,
    then: Callable[[Session, User], T],
    *,
    alone: int,
    keep_browser: str | None = None,
) -> T:
    """The same for somebody who has just proved who they are, by whatever they have: their current
    password is not asked for again. All sessions end but those of `keep_browser`. `login`: their
    username. `ValidationFailed`, and `NotFound` where they are gone or renamed."""
    account = await passwords.find(login)
    if account is None:
        raise NotFound("no such user")
    _check(new, account, alone)
    if account.password_hash is not None and await passwords.is_of(account, new):
        raise ValidationFailed([("/new_password", SAME)])
    password_hash = await passwords.hash(login, new)

    def unit(session: Session) -> T:
        row = accounts.get(session, account.id, lock=True)
        if row.status != "active" or row.second_factor != account.second_factor:
            raise Conflict("changed meanwhile")
        accounts.set_password_hash(session, row, password_hash, must_change=False, held=None)
        reason = "password changed"
        lifecycle.end_all(session, reason, user_id=row.id, keep_browser=keep_browser)
        return then(session, row)

    return await passwords.db.write(unit)


def _check(new: str, user: Account, alone: int) -> None:
    least = policy.least_of(second_factor=user.second_factor, alone=alone)
    policy.check(
        new, username=user.username, email=user.email, pointer="/new_password", least=least
    )


async def prove(passwords: PasswordLogin, login: str, password: str, user_id: str | None) -> Proven:
    """That this is the password of whoever logs in so, and that they are `user_id`, where that is
    known."""
    with in_our_words():
        proven = await passwords.prove(login, password)
    if user_id is not None and proven.user.id != user_id:
        raise Forbidden(WRONG)  # renamed, and the name taken by another, a moment ago
    return proven


@contextmanager
def in_our_words() -> Iterator[None]:
    """OAuth's would puzzle here."""
    try:
        yield
    except InvalidGrant as refusal:
        raise Forbidden(WRONG, audit=refusal.audit) from None
    except InvalidRequest as refusal:
        raise ValidationFailed([("/current_password", refusal.detail)]) from None
