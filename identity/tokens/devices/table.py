"""A device that waits for a person to allow it something elsewhere (RFC 8628 §3.2)."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import JSON
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.store import Stored, UtcDateTime, delete_some

PREFIX: Final = "dc"
LIFE: Final = timedelta(minutes=10)
KEPT: Final = timedelta(minutes=10)
"""How long one is known after its end, so that its device is told of that."""
PAUSE: Final = 5
"""Seconds between two questions of a device, and by how many more once it asks too soon (§3.5)."""
LONGEST_PAUSE: Final = 60

_JSON_OR_NULL: Any = JSON(none_as_null=True)


class DeviceAuthorization(Stored, table=True):
    """Nobody is known when it is made; it waits until somebody has allowed or declined it."""

    __tablename__ = "device_authorization"

    digest: str = Field(primary_key=True)
    """Of the device code."""
    user_code: str = Field(unique=True)
    """What the person types. Good for nothing without somebody's session."""
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE", index=True)
    address: str | None = Field(default=None, index=True)
    """The network that asked, where nobody had to prove anything."""
    scope: str | None = None
    """As asked for, and once allowed what was granted."""
    resources: list[str] = Field(default_factory=list, sa_type=JSON)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    pause: int = PAUSE
    due_at: datetime = Field(sa_type=UtcDateTime)
    """Before this the device asks too soon."""
    user_id: str | None = Field(
        default=None, foreign_key="user_account.id", ondelete="CASCADE", index=True
    )
    """Who has allowed it."""
    authenticated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    amr: list[str] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    acr: str | None = None
    declined_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    session_id: str | None = None
    """The session that its use began."""


def prune(session: Session) -> int:
    over = col(DeviceAuthorization.expires_at) < utcnow() - KEPT
    return delete_some(session, DeviceAuthorization, over)
