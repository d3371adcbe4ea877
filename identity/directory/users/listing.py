"""Which users a list shows, and in which order: `GET /users`, `identity users list`, exports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import literal, tuple_
from sqlmodel import Session, col, select

from identity.directory.users import narrowing, searching
from identity.directory.users.narrowing import Wanted as Wanted
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole
from identity.errors import ValidationFailed

Order = Literal["created", "last_login", "-last_login"]
"""`last_login`: the longest ago first; with `-` the latest. Without those who never have."""
ORDERS: tuple[Order, ...] = get_args(Order)
STRETCH = 10_000
"""So many users are looked at for one page, where no filter finds few."""


class Page(NamedTuple):
    users: list[User]
    after: str | None
    """Where the next page begins; None: there is none. A page that is shorter than asked for may
    have a next one."""


def page(
    session: Session,
    wanted: Wanted,
    order: Order = "created",
    *,
    after: str | None = None,
    most: int,
) -> Page:
    """Up to `most`, behind `after` of the page before. With `search`, in the order of what it
    finds. `ValidationFailed` for an `after` of another list."""
    if wanted.search:
        found = searching.search(
            session, wanted.search, wanted=wanted, after=_pair(after), most=most
        )
        return Page(found.users, "\n".join(found.after) if found.after else None)
    keys: tuple[Any, ...] = (col(User.id),)
    place: tuple[Any, ...] | None = None if after is None else (after,)
    if order != "created":
        if wanted.never_logged_in:
            return Page([], None)
        keys, place = (col(User.last_login_at), col(User.id)), _moment(after)
    users, end = _in_order(session, wanted, keys, order == "-last_login", place, most)
    return Page(users, None if end is None else _text(end))


def _in_order(
    session: Session,
    wanted: Wanted,
    keys: tuple[Any, ...],
    newest: bool,
    after: tuple[Any, ...] | None,
    most: int,
) -> tuple[list[User], tuple[Any, ...] | None]:
    """By `keys`, of an index; what to go on behind."""
    start, stop = _range(wanted, keys, newest, after)
    ordered = [key.desc() if newest else key for key in keys]
    query = select(User).where(*start).order_by(*ordered).limit(most + 1)
    end: tuple[Any, ...] | None = None
    passes = wanted.passes()
    if passes is not None:
        query = query.where(passes)
        ids = narrowing.few(session, wanted)
        if ids is not None:
            query = query.where(col(User.id).in_(ids))
        elif not wanted.q:  # which is promised to look at everybody
            stretch = select(*keys).where(*start, *stop).order_by(*ordered)
            row: Any = session.exec(stretch.offset(STRETCH).limit(1)).first()
            end = (row,) if isinstance(row, str) else row
    stop = stop if end is None else [_beyond(keys, end, newest, up_to=True)]
    users = list(session.exec(query.where(*stop)).all())
    if len(users) > most:
        last = users[most - 1]
        return users[:most], tuple(getattr(last, key.key) for key in keys)
    return users, None if end is None else tuple(end)


def _range(
    wanted: Wanted, keys: tuple[Any, ...], newest: bool, after: tuple[Any, ...] | None
) -> tuple[list[Any], list[Any]]:
    """Where the index is begun, and where it is left: one bound each, for SQLite takes no second
    one into account."""
    here = [] if after is None else [_beyond(keys, after, newest)]
    if len(keys) == 1:
        return here, []
    before = wanted.last_login_before
    upper = [] if before is None else [keys[0] < before]
    if newest:
        return here or upper, [keys[0] >= narrowing.EVER]
    return here or [keys[0] >= narrowing.EVER], upper


def _beyond(
    keys: tuple[Any, ...], place: tuple[Any, ...], newest: bool, *, up_to: bool = False
) -> Any:
    """What comes behind `place`; `up_to`: the rest, with `place` itself."""
    values = [literal(value, key.type) for key, value in zip(keys, place, strict=True)]
    here, at = (keys[0], values[0]) if len(keys) == 1 else (tuple_(*keys), tuple_(*values))
    if up_to:
        return here >= at if newest else here <= at
    return here < at if newest else here > at


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


def few_enough(session: Session) -> bool:
    """Whether one may look at everybody without making anybody wait."""
    beyond = select(User.id).order_by(col(User.id)).offset(STRETCH).limit(1)
    return session.exec(beyond).first() is None


# --- Where a page ends, as text -------------------------------------------------------------


def _text(place: tuple[Any, ...]) -> str:
    return "\n".join(v.isoformat() if isinstance(v, datetime) else v for v in place)


def _pair(after: str | None) -> tuple[str, str] | None:
    """A key and an id behind it."""
    if after is None:
        return None
    key, newline, user_id = after.rpartition("\n")
    if not newline or not user_id:
        raise _not_ours()
    return key, user_id


def _moment(after: str | None) -> tuple[datetime, str] | None:
    pair = _pair(after)
    if pair is None:
        return None
    try:
        at = datetime.fromisoformat(pair[0])
    except ValueError:
        raise _not_ours() from None
    if at.tzinfo is None or not 1 < at.year < 9999:
        raise _not_ours()
    return at, pair[1]


def _not_ours() -> ValidationFailed:
    return ValidationFailed([("?after", "is not a cursor from this list")])
