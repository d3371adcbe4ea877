"""Which users a list shows: the filters of `GET /users` and of `identity users list`."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.searching import contains
from identity.users.table import User, UserRole


def matching(
    *,
    q: str | None = None,
    status: str | None = None,
    role: str | None = None,
    last_login_before: datetime | None = None,
    never_logged_in: bool | None = None,
) -> SelectOfScalar[User]:
    """`q`: part of a username, e-mail address or name, in any case. `last_login_before` leaves out
    who has never logged in."""
    query = select(User)
    if q:
        query = query.where(contains(q, User.username, User.email, User.name))
    if status is not None:
        query = query.where(User.status == status)
    if role is not None:
        holders = select(UserRole.user_id).where(UserRole.role == role)
        query = query.where(col(User.id).in_(holders))
    if last_login_before is not None:
        query = query.where(col(User.last_login_at) < last_login_before)
    if never_logged_in is not None:
        last = col(User.last_login_at)
        query = query.where(last.is_(None) if never_logged_in else last.is_not(None))
    return query
