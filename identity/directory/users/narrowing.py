"""Filters of a list of users, so that a page costs the same however many users there are.

A filter that finds few goes first: they are read from an index, and looked at one by one. Where
none finds few, a list is read on in its own order, so far and no further: the page may be shorter
than asked for, and has a next one all the same. Neither is left to a planner, who has to guess how
many a filter finds.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, literal_column
from sqlmodel import Session, col, select

from identity.dataclass import dataclass
from identity.directory.users.table import User, UserRole
from identity.store.searching import contains

FEW = 2_000
EVER = datetime(1970, 1, 1, tzinfo=UTC)


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
            held = select(UserRole.role).where(
                UserRole.user_id == User.id, UserRole.role == self.role
            )
            found.append(held.correlate(User).scalar_subquery() == self.role)
        last = col(User.last_login_at)
        if self.last_login_before is not None:
            found.append(last < self.last_login_before)
        if self.never_logged_in is not None:
            found.append(last.is_(None) if self.never_logged_in else last.is_not(None))
        return found

    def passes(self) -> ColumnElement[bool] | None:
        """The same, to be looked at user by user: no index is chosen for it. None: all do."""
        conditions = self.conditions()
        return case((and_(*conditions), 1), else_=0) == 1 if conditions else None


def few(session: Session, wanted: Wanted) -> list[str] | None:
    """The ids of all whom one of the filters finds, where one finds no more than `FEW`; the others
    may leave out some of them."""
    for query in _filters(wanted):
        ids = list(session.exec(query.limit(FEW + 1)))
        if len(ids) <= FEW:
            return ids
    return None


def passing(session: Session, wanted: Wanted, ids: Collection[str]) -> set[str]:
    """Those of some thousands of `ids` whom every filter finds."""
    passes = wanted.passes()
    if passes is None or not ids:
        return set(ids)
    return set(session.exec(select(User.id).where(col(User.id).in_(ids), passes)))


def _filters(wanted: Wanted) -> Iterator[Any]:
    """Each that there is an index for, in the order of that index."""
    last = col(User.last_login_at)
    by_login = select(User.id).order_by(last, col(User.id))
    if wanted.role is not None:
        yield select(UserRole.user_id).where(UserRole.role == wanted.role)
    if wanted.status == "disabled":
        # Spelt out: a partial index is for what is known to be in it.
        disabled = col(User.status) == literal_column("'disabled'")
        yield select(User.id).where(disabled).order_by(col(User.id))
    if wanted.last_login_before is not None:
        yield by_login.where(last < wanted.last_login_before)
    if wanted.never_logged_in is not None:
        yield by_login.where(last.is_(None) if wanted.never_logged_in else last >= EVER)
