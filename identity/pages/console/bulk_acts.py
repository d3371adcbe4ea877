"""Acts on many users at once: each on its own, with its own event on record, so that one that is
refused stops nobody else, and whoever is cut off in the middle has done what is shown."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from sqlmodel import Session, col, select

from identity.directory.users import accounts
from identity.directory.users.listing import page as page_of
from identity.directory.users.table import User
from identity.errors import IdentityError
from identity.pages.console.desk import Seat
from identity.pages.console.forms import sentence
from identity.pages.console.user_filters import Filters
from identity.pages.words import _
from identity.service.administration import users as administration
from identity.store import deadlines
from identity.store.paging import listed

MOST_AT_ONCE = 1_000
PAGES = 25
"""Of the list, that are looked through for them."""


class Act(Protocol):
    def __call__(self, session: Session, of: str, seat: Seat, role: str) -> object: ...


class Bulk(NamedTuple):
    words: str
    scope: str
    proof: bool
    act: Act


class Outcome(NamedTuple):
    user_id: str
    username: str
    refused: str
    """Why; empty: it is done."""
    tried: int
    """How many have been, with this one."""


def _status(status: str) -> Act:
    def act(session: Session, of: str, seat: Seat, role: str) -> object:
        return administration.change(session, of, {"status": status}, seat.held, None)

    return act


def _with_role(session: Session, of: str, seat: Seat, role: str) -> object:
    accounts.get(session, of, lock=True)  # what another gives or takes meanwhile stays so
    roles = {*accounts.roles_of(session, of), role}
    return administration.set_roles(session, of, roles, seat.held, None)


def _without_role(session: Session, of: str, seat: Seat, role: str) -> object:
    accounts.get(session, of, lock=True)
    roles = {*accounts.roles_of(session, of)} - {role}
    return administration.set_roles(session, of, roles, seat.held, None)


def _out(session: Session, of: str, seat: Seat, role: str) -> object:
    return administration.sign_out(session, of, seat.held)


BULK = {
    "disable": Bulk(_("Disable"), "users:write", False, _status("disabled")),
    "enable": Bulk(_("Enable"), "users:write", False, _status("active")),
    "sign_out": Bulk(_("Sign out everywhere"), "users:write", False, _out),
    "give": Bulk(_("Give a role"), "users:write", True, _with_role),
    "take": Bulk(_("Take a role away"), "users:write", True, _without_role),
}


def everybody(session: Session, filters: Filters) -> list[User]:
    """Whom the filters find, up to `MOST_AT_ONCE`."""
    found, after = list[User](), None
    filters = filters.settled(session)
    wanted, order = filters.wanted(), filters.order
    for _page in range(PAGES):
        users, after = page_of(session, wanted, order, after=after, most=MOST_AT_ONCE - len(found))
        found += users
        if after is None or len(found) >= MOST_AT_ONCE:
            break
    return found


def these(session: Session, ids: Sequence[str]) -> list[User]:
    query = select(User).where(col(User.id).in_(ids)).order_by(User.username)
    return list(session.exec(query))


async def carried_out(
    seat: Seat, bulk: Bulk, ids: Sequence[str], role: str
) -> AsyncGenerator[Outcome, None]:
    db, own = seat.services.db, seat.person.user.id
    ids = sorted(ids, key=lambda user_id: user_id == own)  # oneself last: it may be the end
    names = await listed(db, lambda s: {user.id: user.username for user in these(s, ids)})
    for tried, user_id in enumerate(ids, 1):
        deadlines.arrived()  # each is an act of its own
        refused, over = "", True
        try:
            seat = await seat.again(bulk.scope)
            over = False
            await db.write(partial(bulk.act, of=user_id, seat=seat, role=role))
        except IdentityError as error:
            refused, over = sentence(error.detail), over or error.status >= 500
        yield Outcome(user_id, names.get(user_id, ""), refused, tried)
        if over:
            return
