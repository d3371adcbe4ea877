"""A client, its secrets, and how it looks after itself."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, Index, String, false
from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import Stored, UtcDateTime

ClientType = Literal["confidential", "public"]
Status = Literal["active", "disabled"]

FIRST_PARTY = "first-party"
_JSON_OR_NULL: Any = JSON(none_as_null=True)


class Client(Stored, table=True):
    __tablename__ = "client"

    id: str = Field(default_factory=new_id, primary_key=True)
    """The `client_id` of the protocol."""
    name: str = ""
    type: ClientType = Field(default="confidential", sa_type=String)
    status: Status = Field(default="active", sa_type=String)
    grants: list[str] = Field(default_factory=list, sa_type=JSON)
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    """Scopes it may ask for; `*`: whatever the user behind it holds."""
    default_scopes: list[str] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    """Those of a request that names none; None: all that is not administrative."""
    audiences: list[str] = Field(default_factory=list, sa_type=JSON)
    """Resources it may name (RFC 8707), besides the default audience, and whose tokens it may
    introspect."""
    settings: dict[str, Any] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    """What differs from the defaults of `clients.settings`, None if nothing does; a newer
    version's may be among them."""
    builtin: bool = False
    self_registered: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Nobody has vouched for it (`clients.self_described`)."""
    version: int = 1
    good_from: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    """Tokens from before are dead: those of a client deleted under the same id, and those from
    before it was last disabled."""
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)


class ClientSecret(Stored, table=True):
    __tablename__ = "client_secret"

    id: str = Field(default_factory=new_id, primary_key=True)
    client_id: str = Field(foreign_key="client.id", ondelete="CASCADE", index=True)
    digest: str
    hint: str
    """The last four characters, to tell one from another."""
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """To a minute (`secrets_used`)."""


class ClientRegistration(Stored, table=True):
    __tablename__ = "client_registration"
    __table_args__ = (Index("ix_client_registration_network", "network", "created_at"),)

    client_id: str = Field(primary_key=True, foreign_key="client.id", ondelete="CASCADE")
    digest: str
    """Of its registration access token."""
    former: str | None = None
    """Of the one before, until the new one is used."""
    network: str | None = None
    """Where it came from, unless a token allowed it."""
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime, index=True)
    used: bool = False
    """Whether anybody has ever agreed to what it asks for."""
    software_statement: str | None = None
    """What a trusted issuer has said of it, as it came (RFC 7591 §2.3)."""
