"""A person answers for a device: one conditional write, whoever else answers at that moment."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.users.table import User
from identity.store import Database, Statement, Work, document, execute, select_of
from identity.store.moments import DatabaseClock
from identity.tokens.devices.table import DeviceAuthorization
from identity.tokens.sessions.table import BrowserSession

_WAITS = (
    col(DeviceAuthorization.user_code) == bindparam("user_code"),
    col(DeviceAuthorization.user_id).is_(None),
    col(DeviceAuthorization.declined_at).is_(None),
    col(DeviceAuthorization.expires_at) > DatabaseClock(),
)
_FIND = Statement(
    lambda: select_of(
        DeviceAuthorization.digest,
        DeviceAuthorization.client_id,
        DeviceAuthorization.scope,
        DeviceAuthorization.resources,
    ).where(*_WAITS)
)
_HOLD = Statement(
    lambda: (
        select_of(User.id)
        .select_from(User, BrowserSession)
        .where(
            col(User.id) == bindparam("user_id"),
            col(User.status) == "active",
            col(BrowserSession.id) == bindparam("browser_session_id"),
            col(BrowserSession.user_id) == bindparam("user_id"),
            col(BrowserSession.ended_at).is_(None),
        )
        .with_for_update(read=True)
    )  # so that whoever ends the session finds what it has allowed
)
_THIS = col(DeviceAuthorization.digest) == bindparam("digest")
_ALLOWED: dict[Any, str] = {
    DeviceAuthorization.user_id: "user_id",
    DeviceAuthorization.scope: "scope",
    DeviceAuthorization.authenticated_at: "authenticated_at",
    DeviceAuthorization.amr: "amr",
    DeviceAuthorization.acr: "acr",
}
_ALLOW = Statement(
    lambda: (
        update(DeviceAuthorization)
        .where(_THIS, *_WAITS)
        .values({column: bindparam(name) for column, name in _ALLOWED.items()})
    )
)
_DECLINE = Statement(
    lambda: (
        update(DeviceAuthorization)
        .where(_THIS, *_WAITS)
        .values({DeviceAuthorization.declined_at: DatabaseClock()})
    )
)


@dataclass(frozen=True, slots=True)
class WaitingDevice:
    """A device that nobody has answered yet."""

    digest: str
    user_code: str
    client_id: str
    scope: str | None
    resources: tuple[str, ...]


async def find(db: Database, user_code: str) -> WaitingDevice | None:
    rows = await db.query(_FIND, {"user_code": user_code, "now": utcnow()})
    if not rows:
        return None
    key, client_id, scope, resources = rows[0]
    return WaitingDevice(key, user_code, client_id, scope, tuple(document(resources)))


def allow(
    work: Work,
    device: WaitingDevice,
    *,
    user_id: str,
    browser_session_id: str,
    scopes: Sequence[str],
    authenticated_at: Any,
    amr: Sequence[str],
    acr: str,
) -> bool:
    """False where somebody was quicker, or the person's session has just ended."""
    values = {
        **_key(device),
        "user_id": user_id,
        "browser_session_id": browser_session_id,
        "scope": " ".join(scopes),
        "authenticated_at": authenticated_at,
        "amr": list(amr),
        "acr": acr,
    }
    if not execute(work, _HOLD, values).fetchall():
        return False
    return execute(work, _ALLOW, values).rowcount == 1


def decline(work: Work, device: WaitingDevice) -> bool:
    return execute(work, _DECLINE, _key(device)).rowcount == 1


def _key(device: WaitingDevice) -> dict[str, Any]:
    return {"digest": device.digest, "user_code": device.user_code, "now": utcnow()}
