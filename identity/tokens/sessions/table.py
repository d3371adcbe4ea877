"""A session is one login at one client. Its refresh tokens are one family: each was swapped for
the next, and only the newest is alive.

A browser session is a person signed in here. Each client that they use has one session below it,
and each code that the client redeems adds a family of its own to that.
"""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, Index, String
from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import BIG, Stored, UtcDateTime

Spent = Literal["rotated", "superseded"]
_JSON_OR_NULL: Any = JSON(none_as_null=True)


class BrowserSession(Stored, table=True):
    __tablename__ = "browser_session"

    id: str = Field(default_factory=new_id, primary_key=True)
    digest: str = Field(unique=True)
    """Of the cookie that is good now; it changes at every rise in privilege."""
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    amr: list[str] = Field(default_factory=list, sa_type=JSON)
    acr: str
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    authenticated_at: datetime = Field(sa_type=UtcDateTime)
    """When the person last proved who they are: `auth_time`."""
    last_used_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    """Noted rarely; a refresh below it counts as well."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    end_reason: str | None = None
    address: str | None = None
    user_agent: str | None = None


class LoginSession(Stored, table=True):
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
    acr: str | None = None
    """Where no family has one. None: of a login that an older version took."""
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
    browser_session_id: str | None = None
    """It ends with that one, and is the only live one of its client there."""
    jkt: str | None = None
    """What the login proved to hold (`tokens.binding`): a refresh has to prove it as well."""
    signed_in_at: str | None = None
    """The browser session at which a code began it, whether or not it ends with that."""

    @property
    def online(self) -> bool:
        """Whether it ends with a browser session."""
        return self.browser_session_id is not None


class Family(Stored, table=True):
    """What one code granted: of several, each has its own scope and audience."""

    __tablename__ = "refresh_family"

    id: str = Field(default_factory=new_id, primary_key=True)
    session_id: str = Field(foreign_key="session.id", ondelete="CASCADE", index=True)
    scope: str
    audience: str
    claims: dict[str, Any] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    """What the `claims` parameter asked for (OpenID Connect Core §5.5)."""
    authorization_details: list[dict[str, Any]] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    authenticated_at: datetime = Field(sa_type=UtcDateTime)
    amr: list[str] = Field(default_factory=list, sa_type=JSON)
    acr: str
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    status_index: int | None = Field(default=None, sa_type=BIG)
    """The first access token's place, as a session's."""
    jkt: str | None = None
    """What the code's redemption proved to hold, as a session's."""


class RefreshToken(Stored, table=True):
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
    family_id: str | None = None
    """None: it is the session's only one."""
