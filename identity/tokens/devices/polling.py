"""A device asks whether somebody has answered: not too often, on whichever replica, and once more
than that only for what it was granted (RFC 8628 §3.5)."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Interval, bindparam, literal, update
from sqlmodel import col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.opaque import digest
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Work,
    document,
    execute,
    moment,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName
from identity.tokens.devices.table import LONGEST_PAUSE, PAUSE, DeviceAuthorization

EARLY = 1
"""Seconds by which a device may be early: networks are not that even."""

_THIS = col(DeviceAuthorization.digest) == bindparam("digest")


@dataclass(frozen=True, slots=True)
class Device:
    digest: str
    client_id: str
    scope: str | None
    resources: tuple[str, ...]
    expired: bool
    pause: int
    user_id: str | None
    authenticated_at: datetime | None
    amr: tuple[str, ...]
    acr: str | None
    declined: bool
    used: bool


_LOOK = Statement(
    lambda: select_of(
        DeviceAuthorization.client_id,
        DeviceAuthorization.scope,
        DeviceAuthorization.resources,
        col(DeviceAuthorization.expires_at) <= DatabaseClock(),
        DeviceAuthorization.pause,
        DeviceAuthorization.user_id,
        DeviceAuthorization.authenticated_at,
        DeviceAuthorization.amr,
        DeviceAuthorization.acr,
        col(DeviceAuthorization.declined_at).is_not(None),
        col(DeviceAuthorization.used_at).is_not(None),
    ).where(_THIS)
)


async def look(db: Database, device_code: str) -> Device | None:
    """In whatever state it is; None where it is not known."""
    key = digest(device_code)
    rows = await db.query(_LOOK, {"digest": key, "now": utcnow()})
    if not rows:
        return None
    client_id, scope, resources, expired, pause, user_id, at, amr, acr, declined, used = rows[0]
    return Device(
        digest=key,
        client_id=client_id,
        scope=scope,
        resources=tuple(document(resources)),
        expired=bool(expired),
        pause=pause,
        user_id=user_id,
        authenticated_at=moment(at) if at else None,
        amr=tuple(document(amr) or ()),
        acr=acr,
        declined=bool(declined),
        used=bool(used),
    )


def _later(dialect: DialectName) -> Any:
    if dialect == "postgresql":
        second, seconds = literal(timedelta(seconds=1)), bindparam("wait", type_=Integer())
        return DatabaseClock() + second.op("*", return_type=Interval())(seconds)
    return value_of(DeviceAuthorization.due_at, "due")


_IN_TIME = StatementBy(
    lambda dialect: (
        update(DeviceAuthorization)
        .where(_THIS, col(DeviceAuthorization.due_at) <= DatabaseClock())
        .values({DeviceAuthorization.due_at: _later(dialect)})
    )
)
_TOO_SOON = StatementBy(
    lambda dialect: (
        update(DeviceAuthorization)
        .where(_THIS, col(DeviceAuthorization.pause) == bindparam("before"))
        .values(
            {
                DeviceAuthorization.due_at: _later(dialect),
                DeviceAuthorization.pause: bindparam("pause"),
            }
        )
    )
)


async def asks_too_soon(db: Database, device: Device) -> bool:
    """Takes the device's turn; it has to wait longer from now on where that had not come yet. Of
    those who ask at once one has it."""

    def unit(work: Work) -> bool:
        if execute(work, _IN_TIME, _wait(device, device.pause)).rowcount == 1:
            return False
        if device.pause < LONGEST_PAUSE:  # beyond, asking costs no write
            execute(work, _TOO_SOON, _wait(device, device.pause + PAUSE))
        return True

    return await db.write_plain(unit)


def _wait(device: Device, pause: int) -> dict[str, Any]:
    now, wait = utcnow(), pause - EARLY
    return {
        "digest": device.digest, "now": now, "wait": wait, "due": now + timedelta(seconds=wait),
        "before": device.pause, "pause": pause,
    }  # fmt: skip


_SPEND = Statement(
    lambda: (
        update(DeviceAuthorization)
        .where(
            _THIS,
            col(DeviceAuthorization.user_id) == bindparam("user_id"),
            col(DeviceAuthorization.declined_at).is_(None),
            col(DeviceAuthorization.used_at).is_(None),
            col(DeviceAuthorization.expires_at) > DatabaseClock(),
        )
        .values({DeviceAuthorization.used_at: DatabaseClock()})
    )
)
_BEGAN = Statement(
    lambda: (
        update(DeviceAuthorization)
        .where(_THIS)
        .values({DeviceAuthorization.session_id: bindparam("session_id")})
    )
)
_USED_FOR = Statement(lambda: select_of(DeviceAuthorization.session_id).where(_THIS))


def spend(work: Work, device: Device) -> bool:
    """Whether what was granted is still there, and is now used: true once."""
    values = {"digest": device.digest, "user_id": device.user_id, "now": utcnow()}
    return execute(work, _SPEND, values).rowcount == 1


def note_session(work: Work, device: Device, session_id: str) -> None:
    """What a replay of the code will end."""
    execute(work, _BEGAN, {"digest": device.digest, "session_id": session_id})


def session_of(work: Work, device: Device) -> str | None:
    """The session of its first use."""
    rows = execute(work, _USED_FOR, {"digest": device.digest}).fetchall()
    return rows[0][0] if rows else None
