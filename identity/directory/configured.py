"""Which things a set of files has made, or taken over (decision 56)."""

from datetime import datetime

from sqlmodel import Field

from identity.clock import utcnow
from identity.store import Stored, UtcDateTime


class Configured(Stored, table=True):
    """A row tells of the thing that was made at `made_at`; of another one of that name, made after
    it was deleted, it says nothing."""

    __tablename__ = "configured"

    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    set_name: str
    created: bool
    """The set has made it; else it was there, and the set has taken it over."""
    made_at: datetime = Field(sa_type=UtcDateTime)
    digest: str
    """Of what the set last made it: whether somebody has changed it since."""
    at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
