"""Which users a list shows: the filters of `GET /users` and of `identity users list`; and whom
somebody may mean who types the beginning of a name."""

from datetime import datetime

from sqlalchemy import or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.directory.users import names
from identity.directory.users.table import LoginName, User, UserRole
from identity.store.searching import begins, contains


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


def ids_beginning_with(session: Session, q: str, limit: int) -> list[str]:
    """Of users whose id is `q`, or whose username, e-mail address or name begins with it, in
    small letters or capitals: by indexes alone, however many users there are."""
    found: dict[str, None] = {}
    exact = session.exec(select(User.id).where(User.id == q)).first()
    if exact is not None:
        found[exact] = None
    key = names.login_key(q)
    by_login = select(LoginName.user_id).where(begins(session, col(LoginName.name), key))
    spelled = {q, q.lower(), q.title(), q[:1].upper() + q[1:]}
    by_name = select(User.id).where(or_(*(begins(session, col(User.name), s) for s in spelled)))
    found |= dict.fromkeys(session.exec(by_login.order_by(LoginName.name).limit(limit)))
    found |= dict.fromkeys(session.exec(by_name.limit(limit)))
    return list(found)[:limit]


def beginning_with(session: Session, q: str, limit: int) -> list[User]:
    ids = ids_beginning_with(session, q, limit)
    users = {user.id: user for user in session.exec(select(User).where(col(User.id).in_(ids)))}
    return [users[user_id] for user_id in ids if user_id in users]
