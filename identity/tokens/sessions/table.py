"""A session is one login at one client. Its refresh tokens are one family: each was swapped for
the next, and only the newest is alive."""

from datetime import datetime
from typing import Literal

from sqlalchemy import JSON, Index, String
from sqlmodel import Field, SQLModel

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import BIG, UtcDateTime

Spent = Literal["rotated", "superseded"]


class LoginSession(SQLModel, table=True):
    __tablename__ = "session"
    __table_args__ = (Index("ix_session_user", "user_id", "ended_at"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    """The `sid` of its access tokens."""
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE")
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE", index=True)
    scope: str
    """What the login granted; a refresh may narrow it, never widen it (RFC 6749 §6)."""
    audience: str
    amr: list[str] = Field(default_factory=list, sa_type=JSON)
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    """Also the `auth_time` of its tokens."""
    last_used_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    access_expires_at: datetime = Field(sa_type=UtcDateTime)
    """When the last access token it issued expires."""
    status_index: int | None = Field(default=None, sa_type=BIG)
    """The first access token's place in the status lists (`identity.tokens.status.table`)."""
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    end_reason: str | None = None
    address: str | None = None
    user_agent: str | None = None


class RefreshToken(SQLModel, table=True):
    __tablename__ = "refresh_token"

    digest: str = Field(primary_key=True)
    session_id: str = Field(foreign_key="session.id", ondelete="CASCADE", index=True)
    issued_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    spent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    spent: Spent | None = Field(default=None, sa_type=String)
    """`rotated`: swapped for its successor. `superseded`: never used, its predecessor was
    retried and got another successor."""
    successor: str | None = None
    """Digest of the token it was last swapped for."""
    status_index: int | None = Field(default=None, sa_type=BIG)
    """The place of the access token that was issued with it; the first one's is the session's."""
