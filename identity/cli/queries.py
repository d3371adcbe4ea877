"""What lists show, in a constant number of queries however long they are."""

from sqlmodel import Session

from identity.directory.users import listing
from identity.directory.users.listing import Order, Wanted
from identity.directory.users.shown import UserOut

SHOWN_TOGETHER = 500


def list_users(
    session: Session, wanted: Wanted, *, order: Order = "created", limit: int | None = None
) -> list[UserOut]:
    """In the order that `listing` gives what is wanted."""
    found, after = list[UserOut](), None
    while limit is None or len(found) < limit:
        most = SHOWN_TOGETHER if limit is None else min(SHOWN_TOGETHER, limit - len(found))
        users, after = listing.page(session, wanted, order, after=after, most=most)
        found += listing.shown(session, users)
        if after is None:
            break
    return found
