"""What lists show, in a constant number of queries however long they are."""

from sqlmodel import Session, col

from identity.directory.users import listing
from identity.directory.users.listing import Order, Wanted
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User

ALL = 1_000_000_000
SHOWN_TOGETHER = 500


def list_users(
    session: Session, wanted: Wanted, *, order: Order = "created", limit: int | None = None
) -> list[UserOut]:
    """In the order that `listing` gives what is wanted."""
    if wanted.search:
        users = listing.found(session, wanted, most=limit or ALL).users
    elif order != "created":
        users = list(listing.by_login(session, wanted, order, most=limit or ALL))
    else:
        query = listing.matching(wanted).order_by(col(User.id)).limit(limit)
        users = list(session.exec(query).all())
    return [
        out
        for start in range(0, len(users), SHOWN_TOGETHER)
        for out in listing.shown(session, users[start : start + SHOWN_TOGETHER])
    ]
