"""Which users a list shows, and in which order: `GET /users`, `identity users list`, exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, literal, tuple_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.directory.users import searching
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole
from identity.store.searching import contains

Order = Literal["created", "last_login", "-last_login"]
"""`last_login`: the longest ago first; with `-` the latest. Without those who never have."""
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`q`: part of a username, e-mail address or name, in any case. `search`: the id, or the
    beginning of one of them, which is found at once however many users there are.
    `last_login_before` leaves out who has never logged in."""

    q: str | None = None
    search: str | None = None
    status: str | None = None
    role: str | None = None
    last_login_before: datetime | None = None
    never_logged_in: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """All but `search`."""
        found: list[ColumnElement[bool]] = []
        if self.q:
            found.append(contains(self.q, User.username, User.email, User.name))
        if self.status is not None:
            found.append(col(User.status) == self.status)
        if self.role is not None:
            holders = select(UserRole.user_id).where(UserRole.role == self.role)
            found.append(col(User.id).in_(holders))
        last = col(User.last_login_at)
        if self.last_login_before is not None:
            found.append(last < self.last_login_before)
        if self.never_logged_in is not None:
            found.append(last.is_(None) if self.never_logged_in else last.is_not(None))
        return found


def matching(wanted: Wanted) -> SelectOfScalar[User]:
    """In no order; `search` aside."""
    return select(User).where(*wanted.conditions())


def by_login(
    session: Session,
    wanted: Wanted,
    order: Order,
    *,
    after: tuple[datetime, str] | None = None,
    most: int,
) -> Sequence[User]:
    """By their last login, from behind `after` on: its time and id of the last one before."""
    newest = order == "-last_login"
    keys: Any = (col(User.last_login_at), col(User.id))
    query = matching(wanted).where(keys[0].is_not(None))
    if after is not None:
        begin = tuple_(literal(after[0], keys[0].type), literal(after[1]))
        query = query.where(tuple_(*keys) < begin if newest else tuple_(*keys) > begin)
    query = query.order_by(*(key.desc() if newest else key for key in keys))
    return session.exec(query.limit(most)).all()


def found(
    session: Session, wanted: Wanted, *, after: tuple[str, str] | None = None, most: int
) -> searching.Found:
    """By `search`, in its order."""
    return searching.search(
        session, wanted.search or "", where=wanted.conditions(), after=after, most=most
    )


def shown(session: Session, users: Sequence[User]) -> list[UserOut]:
    """With their roles, in one query more however many they are."""
    roles: dict[str, list[str]] = {user.id: [] for user in users}
    granted = select(UserRole).where(col(UserRole.user_id).in_(roles))
    for grant in session.exec(granted.order_by(UserRole.role)):
        roles[grant.user_id].append(grant.role)
    return [UserOut.of(user, roles[user.id]) for user in users]


def beginning_with(session: Session, words: str, most: int) -> list[User]:
    """Whom somebody may mean who types this: the first so many."""
    return searching.search(session, words, most=most).users
