"""A passkey as it is kept (WebAuthn 3 §4, credential record)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import BIG, Stored, UtcDateTime


class Passkey(Stored, table=True):
    __tablename__ = "passkey"

    id: str = Field(default_factory=new_id, primary_key=True)
    credential_id: str = Field(unique=True)
    """In base64url, as the browser says it. One key is one user's."""
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    rp_id: str
    """The domain that it belongs to."""
    public_key: str
    """COSE, in base64url."""
    sign_count: int = Field(sa_type=BIG)
    """As it was said last; 0 of those that do not count."""
    name: str
    """The user's."""
    aaguid: str
    """The make of the authenticator, as far as it says so."""
    transports: list[str] = Field(default_factory=list, sa_type=JSON)
    backup_eligible: bool
    """Whether it may be copied to other devices of its owner. For good."""
    backed_up: bool
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    doubted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When its counter fell: somebody may have a copy. It lets nobody in until its owner has said
    that it is theirs."""

    def descriptor(self) -> dict[str, Any]:
        """PublicKeyCredentialDescriptorJSON (§5.8.3)."""
        return descriptor(self.credential_id, self.transports)


def descriptor(credential_id: str, transports: list[str]) -> dict[str, Any]:
    return {"type": "public-key", "id": credential_id, "transports": transports}
