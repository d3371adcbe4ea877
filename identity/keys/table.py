"""The signing keys' table. Read the states' order first: `next`, `active`, `retired`, gone.

    next      published, does not sign yet          private half kept
    active    signs; there is one that serves each  private half kept
    retired   published until what it signed has expired; then it is withdrawn, and its public half
              proves for as long as a session lasts what ID tokens say that come back as hints
    revoked   trusted by nobody from now on; the row stays, so that it cannot be imported again

A key serves what chose no algorithm, or those audiences that chose its own. That of each at most
one key is active and one next, the database sees to: partial unique indexes in `service.tables`.

Whoever signs no more loses its private half: nothing can leak or be exported that is not needed.
"""

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, CheckConstraint, String, text
from sqlmodel import Field, col

from identity.store import Stored, UtcDateTime

State = Literal["next", "active", "retired", "revoked"]
PUBLISHED: tuple[State, ...] = ("active", "next", "retired")


class SigningKey(Stored, table=True):
    __tablename__ = "signing_key"

    kid: str = Field(primary_key=True)
    """The RFC 7638 thumbprint of `public`."""
    algorithm: str
    public: dict[str, Any] = Field(sa_type=JSON)
    """The JWK as it is published."""
    private: str | None = None
    """PKCS #8 DER, encrypted under the master key."""
    state: State = Field(sa_type=String)
    serves: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    """What it signs: "" is every token whose audience chose no algorithm, "RS256" those of the
    audiences that chose RS256."""
    imported: bool = False
    """Brought by an operator: signs until its rotation, whatever the algorithm setting says."""
    token_ttl: int = 0
    """Seconds that the longest-lived token it signed may live."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    not_before: datetime = Field(sa_type=UtcDateTime)
    """When a `next` key may sign: every cached key set without it has expired by then."""
    activated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a retired key's last token has expired."""
    withdrawn_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Since when a retired key is published no more, nor good for any token that must be alive."""
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class KeyFollower(Stored, table=True):
    """One who follows the revocations, see `keys.followers`. Times are the database's."""

    __tablename__ = "key_follower"

    id: str = Field(primary_key=True)
    """`name@client_id`"""
    client_id: str
    name: str
    """What it calls itself; "" stands for all of this client who do not."""
    kids: str | None = None
    """Which of our keys it says that it has, separated by spaces; None: it does not say."""
    told_at: datetime = Field(sa_type=UtcDateTime)
    """When it said that."""
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


# Beside the class, for only here the column has a name of its own.
CheckConstraint(col(SigningKey.state).in_(get_args(State)), name="ck_signing_key_state")
