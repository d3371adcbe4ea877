"""What lists show, in a constant number of queries however long they are."""

from collections import defaultdict
from datetime import datetime

from sqlmodel import Session, col, select

from identity.directory.users.listing import matching
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole


def list_users(
    session: Session,
    *,
    search: str | None = None,
    status: str | None = None,
    role: str | None = None,
    last_login_before: datetime | None = None,
    never_logged_in: bool | None = None,
    limit: int | None = None,
) -> list[UserOut]:
    """Oldest first; the filters as `users.listing.matching` has them."""
    query = matching(
        q=search, status=status, role=role,
        last_login_before=last_login_before, never_logged_in=never_logged_in,
    )  # fmt: skip
    query = query.order_by(col(User.id))
    if limit:
        query = query.limit(limit)
    users = session.exec(query).all()
    roles: dict[str, list[str]] = defaultdict(list)
    few = [user.id for user in users] if len(users) <= 500 else None
    of = select(UserRole.user_id, UserRole.role).order_by(UserRole.role)
    for user_id, name in session.exec(of.where(col(UserRole.user_id).in_(few)) if few else of):
        roles[user_id].append(name)
    return [UserOut.of(user, roles[user.id]) for user in users]
