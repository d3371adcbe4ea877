"""The hash chain over committed events, and its signed head."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, text, update
from sqlmodel import Session, col, select

from identity.audit.table import AuditEvent, AuditHead
from identity.clock import utcnow

LOCK = 0x61756469740000  # the advisory lock of the one sealer at work
BATCH = 1000

_EVENTS: Table = AuditEvent.__table__  # type: ignore[attr-defined]
_MEMBERS = [column for column in _EVENTS.c if column.name not in ("seq", "digest")]
_PLACE = (
    update(_EVENTS)
    .where(_EVENTS.c.id == bindparam("event_id"))
    .values(seq=bindparam("place"), digest=bindparam("link"))
)


# Made once: `json.dumps` with options makes an encoder a call.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def _link(previous: str, seq: int, row: Any) -> str:
    """SHA-256 over the link before and every member of the event, in one canonical form."""
    members = [
        seq, row.id, row.at.isoformat(), row.event, row.outcome, row.actor_type, row.actor,
        row.subject, row.client_id, row.address, row.request_id, row.detail,
    ]  # fmt: skip
    return hashlib.sha256(f"{previous}\n{_canonical(members)}".encode()).hexdigest()


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
    # Not through the ORM: at full load thousands of events a second come by here.
    rows = session.execute(
        select(*_MEMBERS).where(_EVENTS.c.seq.is_(None)).order_by(_EVENTS.c.id).limit(BATCH)
    ).all()
    if not rows:
        return None
    head = session.get(AuditHead, 1)
    seq, digest = (head.seq, head.digest) if head else (0, "")
    places = []
    for row in rows:
        seq += 1
        digest = _link(digest, seq, row)
        places.append({"event_id": row.id, "place": seq, "link": digest})
    session.connection().execute(_PLACE, places)
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
