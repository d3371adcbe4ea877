"""`GET /users`: found by one box, by filters, or in order of their last login."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Security
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Moment, Text
from identity.api.paging import Page, Paged, Search, cursor, listed
from identity.api.problems import administrative
from identity.directory.users import listing
from identity.directory.users.listing import Order, Wanted
from identity.directory.users.shown import UserOut
from identity.directory.users.table import Status
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
    more users there are. Beside other filters a page may be shorter than `limit`, even empty, and
    have a next one: so many users were looked at for it and no more."""
    if wanted.search and order != "created":
        raise ValidationFailed([("?order", "goes with everything but search")])

    def unit(session: Session) -> Page[UserOut]:
        users, following = listing.page(
            session, wanted, order, after=window.after, most=window.limit
        )
        following = None if following is None else cursor(following)
        return Page(items=listing.shown(session, users), next=following)

    return await listed(actor.services.db, unit)
