"""A trusted issuer: a Kubernetes cluster, a CI system, another identity provider."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, String, false
from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import Stored, UtcDateTime

Status = Literal["active", "disabled"]
UserMatch = Literal["none", "id", "username", "email"]
"""What of a user is compared with the issuer's word; `none`: it speaks of no users of ours."""

_JSON_OR_NULL: Any = JSON(none_as_null=True)


class TrustedIssuer(Stored, table=True):
    __tablename__ = "trusted_issuer"

    id: str = Field(default_factory=new_id, primary_key=True)
    issuer: str = Field(unique=True)
    """Exactly as its tokens have it in `iss`."""
    name: str = ""
    status: Status = Field(default="active", sa_type=String)
    jwks: dict[str, Any] | None = Field(default=None, sa_type=_JSON_OR_NULL)
    jwks_uri: str | None = None
    """Where its keys are; neither of both: where its metadata say."""
    audience: str | None = None
    """What its tokens are for; None: our own issuer."""
    user_match: UserMatch = Field(default="none", sa_type=String)
    user_claim: str = "sub"
    """The claim that is compared."""
    software_statements: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether it says what programs are that register themselves (RFC 7591 §2.3)."""
    version: int = 1
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
