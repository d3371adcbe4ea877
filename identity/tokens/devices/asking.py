"""A device asks for a code. That is written before anybody is known, so it is bounded: in life, in
size by what the client is registered for, and in number: for an address, a client and in all."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, func, literal
from sqlmodel import col

from identity.clock import utcnow
from identity.errors import TooManyRequests
from identity.opaque import digest, mint
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Work,
    execute,
    insert_for,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName
from identity.tokens.devices import user_codes
from identity.tokens.devices.table import LIFE, PAUSE, PREFIX, DeviceAuthorization

PER_ADDRESS = 20
"""Devices that may wait at one address, of clients that have nothing to prove."""
PER_CLIENT = 5_000
IN_ALL = 10_000
TRIES = 5

_WAITING = Statement(
    lambda: select_of(
        func.count(),
        func.count(case((col(DeviceAuthorization.client_id) == bindparam("client_id"), 1))),
        func.count(case((col(DeviceAuthorization.address) == bindparam("address"), 1))),
    ).where(
        col(DeviceAuthorization.expires_at) > DatabaseClock(),
        col(DeviceAuthorization.used_at).is_(None),
        col(DeviceAuthorization.declined_at).is_(None),
    )
)
_ASKED: tuple[Any, ...] = (
    DeviceAuthorization.digest,
    DeviceAuthorization.user_code,
    DeviceAuthorization.client_id,
    DeviceAuthorization.address,
    DeviceAuthorization.scope,
    DeviceAuthorization.resources,
    DeviceAuthorization.pause,
)


def _ask(dialect: DialectName) -> Any:
    ends: Any = DeviceAuthorization.expires_at
    due: Any = DeviceAuthorization.due_at
    end, first = value_of(ends, "end"), value_of(due, "now")
    if dialect == "postgresql":
        end, first = DatabaseClock() + literal(LIFE), DatabaseClock()  # type: ignore[assignment]
    values: dict[Any, Any] = {column: bindparam(column.key) for column in _ASKED}
    asked = insert_for(dialect, DeviceAuthorization).values({**values, ends: end, due: first})
    return asked.on_conflict_do_nothing()


_ASK = StatementBy(_ask)


class Asked(NamedTuple):
    device_code: str
    user_code: str
    """As it is stored (`user_codes.shown` for people)."""
    expires_in: timedelta
    pause: int


async def ask(
    db: Database,
    client_id: str,
    *,
    scope: str | None,
    resources: Sequence[str],
    address: str | None,
) -> Asked:
    """Codes for a device, durable. `address`: of whom they are to be counted to, None for a client
    that has proved who it is. Raises `TooManyRequests`."""
    code, now = mint(PREFIX), utcnow()
    values: dict[str, Any] = {
        "digest": digest(code),
        "client_id": client_id,
        "address": address,
        "scope": scope,
        "resources": list(resources),
        "pause": PAUSE,
        "now": now,
        "end": now + LIFE,
    }

    def unit(work: Work) -> str:
        ((in_all, its, here),) = execute(work, _WAITING, values).fetchall()
        too_many = in_all >= IN_ALL or its >= PER_CLIENT
        if too_many or (address is not None and here >= PER_ADDRESS):
            raise TooManyRequests(60, "too many devices wait for somebody; try again later")
        for _ in range(TRIES):
            values["user_code"] = user_codes.make()
            if execute(work, _ASK, values).rowcount == 1:
                return str(values["user_code"])
        raise AssertionError("no user code is free")

    return Asked(code, await db.write_plain(unit), LIFE, PAUSE)
