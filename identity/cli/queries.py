"""What lists show, in a constant number of queries however long they are."""

from collections import defaultdict

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from identity.users.shown import UserOut
from identity.users.table import User, UserRole


def list_users(
    session: Session,
    *,
    search: str | None = None,
    status: str | None = None,
    role: str | None = None,
    limit: int | None = None,
) -> list[UserOut]:
    """Oldest first. `search`: part of a username, e-mail address or name, in any case."""
    query = select(User).order_by(col(User.id))
    if search:
        part = search.lower()
        query = query.where(
            or_(
                *(
                    func.lower(column).contains(part, autoescape=True)
                    for column in (col(User.username), col(User.email), col(User.name))
                )
            )
        )
    if status:
        query = query.where(User.status == status)
    if role:
        holders = select(UserRole.user_id).where(UserRole.role == role)
        query = query.where(col(User.id).in_(holders))
    if limit:
        query = query.limit(limit)
    users = session.exec(query).all()
    roles: dict[str, list[str]] = defaultdict(list)
    few = [user.id for user in users] if len(users) <= 500 else None
    of = select(UserRole.user_id, UserRole.role).order_by(UserRole.role)
    for user_id, name in session.exec(of.where(col(UserRole.user_id).in_(few)) if few else of):
        roles[user_id].append(name)
    return [UserOut.of(user, roles[user.id]) for user in users]
