"""`GET /users`: found by one box, by filters, or in order of their last login."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Security
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Moment, Text
from identity.api.paging import Page, Paged, Search, Window, cursor, listed
from identity.api.problems import administrative
from identity.directory.users import listing
from identity.directory.users.listing import Order, Wanted
from identity.directory.users.shown import UserOut
from identity.directory.users.table import Status, User
from identity.errors import ValidationFailed

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]

router = APIRouter(prefix="/users", tags=["Users"], route_class=JsonRoute)


async def _wanted(
    q: Search = None,
    search: Annotated[
        Text | None,
        Query(
            min_length=1,
            max_length=200,
            description="The id, or how a username, e-mail address or name begins, in any case. "
            "At once, however many users there are; in the order of what was found.",
            examples=["ada"],
        ),
    ] = None,
    status: Status | None = None,
    role: Annotated[Text | None, Query(max_length=64, description="Only its holders.")] = None,
    last_login_before: Annotated[
        Moment | None, Query(description="Without those who have never logged in.")
    ] = None,
    never_logged_in: Annotated[bool | None, Query(description="Only those, or all others.")] = None,
) -> Wanted:
    return Wanted(q, search, status, role, last_login_before, never_logged_in)


Filtered = Annotated[Wanted, Depends(_wanted)]


@router.get(
    "", operation_id="list_users", summary="List users, oldest first", responses=administrative()
)  # fmt: skip
async def list_users(
    actor: Reader,
    window: Paged,
    wanted: Filtered,
    order: Annotated[
        Order,
        Query(
            description="`last_login`: the longest ago first, `-last_login`: the latest; without "
            "those who never have. Not together with `search`."
        ),
    ] = "created",
) -> Page[UserOut]:
    """`q` is looked for anywhere in usernames, e-mail addresses and names, which takes longer the
    more users there are."""
    if wanted.search and order != "created":
        raise ValidationFailed([("?order", "goes with everything but search")])

    def unit(session: Session) -> Page[UserOut]:
        users, following = _page(session, window, wanted, order)
        return Page(items=listing.shown(session, users), next=following)

    return await listed(actor.services.db, unit)


def _page(
    session: Session, window: Window, wanted: Wanted, order: Order
) -> tuple[list[User], str | None]:
    most = window.limit + 1
    if wanted.search:
        found = listing.found(session, wanted, after=_pair(window), most=window.limit)
        return found.users, cursor("\n".join(found.after)) if found.after else None
    if order != "created":
        users = list(listing.by_login(session, wanted, order, after=_moment(window), most=most))
        end = users[window.limit - 1] if len(users) == most else None
        following = cursor(f"{end.last_login_at.isoformat()}\n{end.id}") if (
            end is not None and end.last_login_at is not None
        ) else None  # fmt: skip
        return users[: window.limit], following
    rows, following = window.take(session, listing.matching(wanted), User.id)
    return list(rows), following


def _pair(window: Window) -> tuple[str, str] | None:
    """A key and an id behind it."""
    if window.after is None:
        return None
    key, newline, user_id = window.after.rpartition("\n")
    if not newline or not user_id:
        raise _not_ours()
    return key, user_id


def _moment(window: Window) -> tuple[datetime, str] | None:
    pair = _pair(window)
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
