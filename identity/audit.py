"""What happened, on record: audit events, sealed into a hash chain.

`record` writes an event in the transaction of what it tells of. High-volume events go through an
`AuditQueue`, which writes them in batches. Neither waits for the chain: a sealer gives committed
events their place in it within a second, one sealer at a time, and signs the head, so that
`verify` finds a row that was changed, removed, reordered or cut off at the end.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import JSON, ColumnElement, Index, insert, text, update
from sqlmodel import Field, Session, SQLModel, col, select

from identity.clock import utcnow
from identity.db import BIG, Database, UtcDateTime
from identity.errors import Overloaded

LOCK = 0x61756469740000  # the advisory lock of the one sealer at work
BATCH = 1000
Outcome = Literal["success", "refused"]


class Origin(NamedTuple):
    """Who asks, from where. `actor` is a user's or client's id, or an operating-system user."""

    request_id: str | None = None
    address: str | None = None
    actor_type: Literal["user", "client", "cli", "system", "anonymous"] = "anonymous"
    actor: str | None = None


SYSTEM = Origin(actor_type="system")
origin: ContextVar[Origin] = ContextVar("origin", default=SYSTEM)


def act_as(actor_type: Literal["user", "client", "cli", "system"], actor: str) -> None:
    """From here on this request's events name `actor`."""
    request_id, address, *_ = origin.get()
    origin.set(Origin(request_id, address, actor_type, actor))


class AuditEvent(SQLModel, table=True):
    __tablename__ = "audit_event"
    __table_args__ = (
        Index(
            "ix_audit_event_unsealed",
            "id",
            sqlite_where=text("seq IS NULL"),
            postgresql_where=text("seq IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BIG,
    )
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    event: str = Field(index=True)
    outcome: str
    actor_type: str
    actor: str | None = Field(default=None, index=True)
    subject: str | None = Field(default=None, index=True)
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


class AuditHead(SQLModel, table=True):
    """The end of the chain, signed. One row."""

    __tablename__ = "audit_head"

    id: int = Field(default=1, primary_key=True)
    seq: int = Field(sa_type=BIG)
    digest: str
    signature: str
    at: datetime = Field(sa_type=UtcDateTime)


def event(
    name: str,
    *,
    outcome: Outcome = "success",
    subject: str | None = None,
    client_id: str | None = None,
    **detail: Any,
) -> dict[str, Any]:
    """An event by and from the current `origin`; `detail` is JSON, never a secret."""
    who = origin.get()
    return {
        "at": utcnow(),
        "event": name,
        "outcome": outcome,
        "actor_type": who.actor_type,
        "actor": who.actor,
        "subject": _plain(subject),
        "client_id": _plain(client_id),
        "address": who.address,
        "request_id": who.request_id,
        "detail": {key: _plain(value) for key, value in detail.items() if value is not None},
    }


def _plain(value: Any) -> Any:
    """What both databases can store: PostgreSQL holds neither NUL nor lone surrogates. One event
    that cannot be written would hold up all that are queued with it."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def record(
    session: Session,
    name: str,
    *,
    outcome: Outcome = "success",
    subject: str | None = None,
    client_id: str | None = None,
    **detail: Any,
) -> None:
    """Write an event in the caller's transaction; it stands or falls with what it tells of."""
    members = event(name, outcome=outcome, subject=subject, client_id=client_id, **detail)
    session.add(AuditEvent(**members))


class AuditQueue:
    """Events of acts that change nothing, held until the next flush (every second, and at
    shutdown). Full means refusing work, not forgetting it. A killed process loses at most what
    it held."""

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._events: list[dict[str, Any]] = []
        self._flushing = asyncio.Lock()

    @property
    def depth(self) -> int:
        return len(self._events)

    def put(
        self,
        name: str,
        *,
        outcome: Outcome = "success",
        subject: str | None = None,
        client_id: str | None = None,
        **detail: Any,
    ) -> None:
        if len(self._events) >= self._size:
            raise Overloaded(audit="the audit queue is full")
        self._events.append(
            event(name, outcome=outcome, subject=subject, client_id=client_id, **detail)
        )

    async def flush(self, db: Database) -> None:
        """Write what is held; what cannot be written now is held on, and counts. Not to be
        cancelled: whether a write under way succeeds would remain unknown."""
        async with self._flushing:
            taken = self._events[:]
            if not taken:
                return
            await db.write(lambda session: session.execute(insert(AuditEvent), taken).close())
            del self._events[: len(taken)]


# --- The chain ------------------------------------------------------------------------------


def _link(previous: str, seq: int, row: AuditEvent) -> str:
    """SHA-256 over the link before and every member of the event, in one canonical form."""
    members = [
        seq, row.id, row.at.isoformat(), row.event, row.outcome, row.actor_type, row.actor,
        row.subject, row.client_id, row.address, row.request_id, row.detail,
    ]  # fmt: skip
    text_ = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{text_}".encode()).hexdigest()


def _signature(key: bytes, seq: int, digest: str) -> str:
    return hmac.new(key, f"audit head {seq} {digest}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Sealed:
    count: int
    seq: int
    digest: str


def unsealed(session: Session) -> bool:
    """Whether there is anything to seal."""
    return (
        session.exec(select(AuditEvent.id).where(col(AuditEvent.seq).is_(None)).limit(1)).first()
        is not None
    )


def seal(session: Session, key: bytes) -> Sealed | None:
    """Chain up to `BATCH` committed events and sign the new head; None when there is nothing to
    do or another sealer is at it. `key`: 32 bytes derived from the master key."""
    if session.get_bind().dialect.name == "postgresql":
        locked = session.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if not locked.scalar():
            return None
    rows = session.exec(
        select(AuditEvent)
        .where(col(AuditEvent.seq).is_(None))
        .order_by(col(AuditEvent.id))
        .limit(BATCH)
    ).all()
    if not rows:
        return None
    head = session.get(AuditHead, 1)
    seq, digest = (head.seq, head.digest) if head else (0, "")
    places = []
    for row in rows:
        seq += 1
        digest = _link(digest, seq, row)
        places.append({"id": row.id, "seq": seq, "digest": digest})
    session.execute(update(AuditEvent), places)
    head = head or AuditHead(seq=0, digest="", signature="", at=utcnow())
    head.seq, head.digest, head.at = seq, digest, utcnow()
    head.signature = _signature(key, seq, digest)
    session.add(head)
    return Sealed(len(rows), seq, digest)


@dataclass(frozen=True)
class Fault:
    seq: int
    words: str


def verify(session: Session, keys: list[bytes]) -> Iterator[Fault]:
    """Every fault of the chain, first to last; `keys`: the signing keys that may have been used."""
    seq, digest = 0, ""
    found: ColumnElement[bool] = col(AuditEvent.seq).is_not(None)
    while True:
        begun = seq
        query = select(AuditEvent).where(found).order_by(col(AuditEvent.seq))
        for row in session.exec(query.execution_options(yield_per=BATCH)):
            assert row.seq is not None
            if row.seq != seq + 1:
                yield Fault(seq + 1, f"events {seq + 1} to {row.seq - 1} are missing")
            elif _link(digest, row.seq, row) != row.digest:
                yield Fault(row.seq, f"event {row.seq} ({row.event}) or its place was changed")
            seq, digest = row.seq, row.digest or ""
        # Read after the events, for a sealer may have been at work meanwhile: then follow it.
        head = session.get(AuditHead, 1, populate_existing=True)
        if head is None or head.seq <= seq or seq == begun:
            break
        found = col(AuditEvent.seq) > seq
    if head is None:
        if seq:
            yield Fault(seq, "the signed head of the chain is missing")
    elif not any(
        hmac.compare_digest(_signature(k, head.seq, head.digest), head.signature) for k in keys
    ):
        yield Fault(head.seq, "the head's signature is not ours")
    elif head.seq > seq:
        yield Fault(seq + 1, f"events {seq + 1} to {head.seq} were cut off")
    elif (head.seq, head.digest) != (seq, digest):
        yield Fault(seq, "the chain does not end at its signed head")
