"""Who is held up by failed logins, as every process sees it, and letting them go.

A counter's key is a digest. What it counts stands beside it since this was built: the network, and
the user whom the name typed belongs to. What was typed is not kept: it may be a password.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, literal, null, select, union_all
from sqlmodel import Session, col

from identity.authentication import totp
from identity.authentication.throttle import TOTAL_FACTOR, LoginFailure, account_key, key_of
from identity.authentication.totp import Totp
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access.authority import Held
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import NotFound
from identity.records import audit
from identity.records.audit.origins import network_of
from identity.store import select_of

Kind = Literal["pair", "account", "address", "user_code", "second_factor"]
"""`pair`: an account at one address. `account`: it, from everywhere. `address`: it, for every
account. `user_code`: codes of devices, typed by a user, from an address, or in all.
`second_factor`: an account's codes by the clock."""
COUNTED = 1_000
"""Beyond so many nobody counts: the overview asks often."""
OF_FACTOR = "factor:"
"""Begins the id of a block of the last kind; a user's id follows."""


@dataclass(frozen=True, slots=True)
class Block:
    id: str
    kind: Kind
    user_id: str | None
    """None: an address alone, or a name that is nobody's."""
    username: str | None
    address: str | None
    """As it counts: an IPv6 network by its first address."""
    failures: int
    until: datetime


def listed(
    session: Session,
    *,
    kind: Kind | None = None,
    user_id: str | None = None,
    address: str | None = None,
    after: str | None = None,
    most: int,
) -> list[Block]:
    """Those in force now, by id, from behind `after` on."""
    query, c = _blocks()
    wanted: dict[Any, str | None] = {c.kind: kind, c.user_id: user_id, c.address: address}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(c.id > after)
    return [Block(*row) for row in session.execute(query.order_by(c.id).limit(most))]


def count_wide(session: Session) -> int:
    """How many hold up more than an account at one address; `COUNTED` at the most."""
    query, c = _blocks()
    some = query.where(c.kind != "pair").limit(COUNTED).subquery()
    counted: int = session.execute(select_of(func.count()).select_from(some)).scalar_one()
    return counted


def release(session: Session, block_id: str, held: Held) -> Block:
    """Let whoever it holds up try again at once. `NotFound` where it is over by now, `Forbidden`
    where its user holds more than `held`."""
    query, c = _blocks()
    row = session.execute(query.where(c.id == block_id)).first()
    if row is None:
        raise NotFound("nothing is blocked by this id")
    block = Block(*row)
    if block.user_id is not None and block.username is not None:
        accounts.guard(session, accounts.get(session, block.user_id), held)
    if block.kind == "second_factor":
        totp.forgive(session, block_id.removeprefix(OF_FACTOR))
    else:
        session.execute(delete(LoginFailure).where(col(LoginFailure.key) == block_id))
    audit.record(
        session, "block.released", subject=block.user_id, kind=block.kind,
        released_address=block.address, failures=block.failures,
    )  # fmt: skip
    return block


def _blocks() -> tuple[Any, Any]:
    """All that are in force: the query of `Block`'s members, and its columns without the name."""
    now = utcnow()
    counted = select_of(
        col(LoginFailure.key).label("id"),
        col(LoginFailure.kind).label("kind"),
        col(LoginFailure.user_id).label("user_id"),
        col(LoginFailure.network).label("address"),
        col(LoginFailure.count).label("failures"),
        col(LoginFailure.expires_at).label("until"),
    ).where(
        col(LoginFailure.locked).is_(True),
        col(LoginFailure.kind).is_not(None),
        col(LoginFailure.expires_at) > now,
    )
    of_factors = select_of(
        (literal(OF_FACTOR) + col(Totp.user_id)),
        literal("second_factor"),
        col(Totp.user_id),
        null(),
        col(Totp.wrong),
        col(Totp.locked_until),
    ).where(col(Totp.locked_until) > now)
    found = union_all(counted, of_factors).subquery()
    c = found.c
    query = select_of(c.id, c.kind, c.user_id, User.username, c.address, c.failures, c.until)
    return query.join_from(found, User, col(User.id) == c.user_id, isouter=True), c


# --- Of one account, by its names -----------------------------------------------------------


def locks_of(
    session: Session, names: Iterable[str], addresses: Iterable[str | None], limit: int
) -> list[tuple[str | None, datetime]]:
    """What is locked of an account with these login names: (address, until), None for the account
    as a whole. Found by their keys, for which the addresses must be known."""
    keys = _keys(names, addresses)
    running = select(LoginFailure).where(
        col(LoginFailure.key).in_(keys), col(LoginFailure.expires_at) > utcnow()
    )
    return [
        (keys[row.key], row.expires_at)
        for row in session.scalars(running)
        if row.count >= (limit if keys[row.key] else limit * TOTAL_FACTOR)
    ]


def unlock(session: Session, names: Iterable[str], addresses: Iterable[str | None]) -> int:
    """Forget what failed for this account, at these addresses and in total; how many counters.
    What an address has failed in total concerns others too, and stays."""
    keys = list(_keys(names, addresses))
    return session.execute(delete(LoginFailure).where(col(LoginFailure.key).in_(keys))).rowcount  # type: ignore[attr-defined, no-any-return]


def _keys(names: Iterable[str], addresses: Iterable[str | None]) -> dict[str, str | None]:
    """Counter → its address."""
    typed = [account_key(name) for name in names]
    places = {network_of(address): address for address in addresses}
    keys: dict[str, str | None] = {key_of("account", name): None for name in typed}
    for name in typed:
        keys |= {key_of("pair", name, place): place for place in places}
    return keys
