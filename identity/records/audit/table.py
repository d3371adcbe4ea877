"""The audit trail as it is stored."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field

from identity.store import BIG, Stored, UtcDateTime


class AuditEvent(Stored, table=True):
    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_event_at", "event", "at", "outcome"),
        Index("ix_audit_event_subject_id", "subject", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BIG,
    )
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    event: str
    outcome: str
    actor_type: str
    actor: str | None = Field(default=None, index=True)
    subject: str | None = None
    client_id: str | None = None
    address: str | None = None
    request_id: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    seq: int | None = Field(
        default=None,
        unique=True,
        sa_type=BIG,
    )
    digest: str | None = None


class AuditHead(Stored, table=True):
    """The end of the chain, signed. One row."""

    __tablename__ = "audit_head"

    id: int = Field(default=1, primary_key=True)
    seq: int = Field(sa_type=BIG)
    digest: str
    signature: str
    at: datetime = Field(sa_type=UtcDateTime)


class AuditArchive(Stored, table=True):
    """A stretch of the chain that is in a file and no longer here."""

    __tablename__ = "audit_archive"

    first: int = Field(primary_key=True, sa_type=BIG, sa_column_kwargs={"autoincrement": False})
    last: int = Field(sa_type=BIG, unique=True)
    continues: str
    """The digest of the event before; empty for the first of all."""
    digest: str
    signature: str
    file: str
    head_seq: int = Field(sa_type=BIG)
    """The head of the chain at that time, with its signature: whoever archives what comes next
    need not follow the chain to its end."""
    head_digest: str
    head_signature: str
    at: datetime = Field(sa_type=UtcDateTime)
