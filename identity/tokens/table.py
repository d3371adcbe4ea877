"""Access tokens revoked one by one, until they would have expired anyway."""

from datetime import datetime

from sqlmodel import Field

from identity.clock import utcnow
from identity.store import BIG, Stored, UtcDateTime


class RevokedToken(Stored, table=True):
    __tablename__ = "revoked_token"

    jti: str = Field(primary_key=True)
    revoked_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    status_index: int | None = Field(default=None, sa_type=BIG, index=True)
    """Its place in the status lists (`identity.tokens.status.table`)."""
