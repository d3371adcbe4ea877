"""The brand, and the pictures that belong to it."""

from datetime import datetime

from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import Stored, UtcDateTime

ONE = 1


class Branding(Stored, table=True):
    """The one row. What is not set is as the pages come."""

    __tablename__ = "branding"

    id: int = Field(default=ONE, primary_key=True)
    name: str | None = None
    """Of whoever runs the service, as people know them."""
    accent: str | None = None
    """`#rrggbb`, as all of them; in the light scheme."""
    accent_dark: str | None = None
    """None: as much lighter than `accent` as it has to be."""
    background: str | None = None
    background_dark: str | None = None
    version: int = 0
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)


class Logo(Stored, table=True):
    """A picture that this service has drawn anew (`logos`)."""

    __tablename__ = "logo"

    id: str = Field(default_factory=new_id, primary_key=True)
    client_id: str | None = Field(
        default=None, foreign_key="client.id", ondelete="CASCADE", unique=True
    )
    """Whose it is; None: the service's own."""
    digest: str = Field(index=True)
    """Of `image`: the name under which it is asked for."""
    image: bytes
    """WebP."""
    width: int
    height: int
