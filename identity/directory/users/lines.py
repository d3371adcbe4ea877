"""Users as a list shows them to people: of each what stands in its line, and no more is read.

The list of everybody, which is looked at the most, is one look-up. It reads a stretch of one
index, however many users there are, so that SQLite may answer it in the event loop.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam
from sqlmodel import Session, col, select

from identity.directory.users.table import User, UserRole
from identity.store import Database, Statement, moment, select_of


class Line(NamedTuple):
    id: str
    username: str
    name: str | None
    email: str | None
    status: str
    second_factor: bool
    last_login_at: datetime | None
    roles: list[str]


_SHOWN: tuple[Any, ...] = (
    User.id,
    User.username,
    User.name,
    User.email,
    User.status,
    User.second_factor,
    User.last_login_at,
)


def _everybody() -> Any:
    """Each as often as they have roles, once without."""
    page = (
        select_of(*_SHOWN)
        .where(col(User.id) > bindparam("after"))
        .order_by(col(User.id))
        .limit(bindparam("most", type_=Integer))
        .subquery("page")
    )
    return (
        select_of(*page.c, UserRole.role)
        .join_from(page, UserRole, col(UserRole.user_id) == page.c.id, isouter=True)
        .order_by(page.c.id, col(UserRole.role))
    )


_EVERYBODY = Statement(_everybody)


async def everybody(db: Database, after: str | None, most: int) -> tuple[list[Line], str | None]:
    """Up to `most` behind the id `after`, as `listing.page` has them where nothing is filtered, and
    behind whom the next page begins."""
    rows = await db.query(_EVERYBODY, {"after": after or "", "most": most + 1})
    found = [_line([*each]) for _, each in groupby(rows, lambda row: row[0])]
    return found[:most], found[most - 1].id if len(found) > most else None


def _line(rows: Sequence[Any]) -> Line:
    id_, username, name, email, status, second_factor, last, _ = rows[0]
    roles = [row[-1] for row in rows if row[-1] is not None]
    seen = moment(last) if last else None
    return Line(id_, username, name, email, status, bool(second_factor), seen, roles)


def of(session: Session, users: Sequence[User]) -> list[Line]:
    """These, with their roles in one query more."""
    roles: dict[str, list[str]] = {user.id: [] for user in users}
    granted = select(UserRole.user_id, UserRole.role).where(col(UserRole.user_id).in_(roles))
    for user_id, role in session.exec(granted.order_by(UserRole.role)):
        roles[user_id].append(role)
    return [
        Line(
            user.id, user.username, user.name, user.email, user.status, user.second_factor,
            user.last_login_at, roles[user.id],
        )
        for user in users
    ]  # fmt: skip
