"""A scope is a permission at a resource; a role is a named set of scopes."""

from datetime import datetime

from sqlalchemy import false
from sqlmodel import Field

from identity.clock import utcnow
from identity.store import Stored, UtcDateTime

RESOURCE = (
    r"[A-Za-z][A-Za-z0-9+.-]*:(//)?[A-Za-z0-9._~:@!$&'()*+,;=%\[\]-]"
    r"[A-Za-z0-9._~:@!$&'()*+,;=%\[\]/?-]*"
)
"""A resource indicator: an absolute URI without a fragment (RFC 8707 §2, RFC 3986 §4.3)."""


class Scope(Stored, table=True):
    __tablename__ = "scope"

    name: str = Field(primary_key=True)
    description: str = ""
    audience: str | None = None
    """The resource it belongs to (RFC 8707); None: this service, or any."""
    open_to_registered: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether clients that registered themselves may ask for it."""
    builtin: bool = False
    version: int = 1
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)


class Role(Stored, table=True):
    __tablename__ = "role"

    name: str = Field(primary_key=True)
    description: str = ""
    acr: str | None = None
    """`aal2` or `phr`: whoever has signed in below that does not hold it."""
    builtin: bool = False
    version: int = 1
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)


class RoleScope(Stored, table=True):
    __tablename__ = "role_scope"

    role: str = Field(foreign_key="role.name", primary_key=True, ondelete="CASCADE")
    scope: str = Field(foreign_key="scope.name", primary_key=True, ondelete="CASCADE", index=True)
