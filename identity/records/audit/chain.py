"""The hash chain over committed events, and its signed head. Whether it is whole: `verifying`."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    column,
    func,
    insert,
    literal,
    table,
    update,
)
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.records.audit.table import AuditEvent, AuditHead
from identity.store import (
    Statement,
    StatementBy,
    Work,
    dialect,
    execute,
    insert_for,
    insert_of,
    select_of,
    value_of,
)
from identity.store.locks import Lock, try_to_take
from identity.store.statements import DialectName

BATCH = 1000

MEMBERS = (
    "at", "event", "outcome", "actor_type", "actor", "subject", "client_id", "address",
    "request_id", "detail",
)  # fmt: skip
"""Of an event, in the order in which they are chained."""

_EVENTS: Table = AuditEvent.__table__  # type: ignore[attr-defined]
CHAINED = (_EVENTS.c.id, *(_EVENTS.c[name] for name in MEMBERS))
_members = itemgetter(*MEMBERS)
_PLACE = (
    update(_EVENTS)
    .where(_EVENTS.c.id == bindparam("event_id"))
    .values(seq=bindparam("place"), digest=bindparam("link"))
)
WRITTEN: dict[Any, str] = {getattr(AuditEvent, name): name for name in MEMBERS}
_CHAINED_AT_ONCE: dict[Any, str] = {
    AuditEvent.id: "id",
    **WRITTEN,
    AuditEvent.seq: "seq",
    AuditEvent.digest: "digest",
}


def _all_together() -> Any:
    """PostgreSQL takes a row for each of `events` at once."""
    columns = [column(name, field.type) for field, name in _CHAINED_AT_ONCE.items()]
    events = func.json_to_recordset(bindparam("events", type_=JSON))
    rows = events.table_valued(*columns).render_derived(with_types=True)
    return insert(AuditEvent).from_select([*_CHAINED_AT_ONCE], select_of(*rows.c))


def _ids_to_give(dialect: DialectName) -> Any:
    name = literal(_EVENTS.name, String)
    if dialect == "postgresql":
        serial = func.pg_get_serial_sequence(name, literal(_EVENTS.c.id.name, String))
        turns = func.generate_series(1, bindparam("count", type_=Integer))
        return select(func.nextval(serial)).select_from(turns)
    given = table("sqlite_sequence", column("name"), column("seq"))
    return select(func.coalesce(func.max(given.c.seq), 0)).where(given.c.name == name)


_ONE_BY_ONE = Statement(lambda: insert_of(AuditEvent, _CHAINED_AT_ONCE))
_ALL_TOGETHER = Statement(_all_together, "postgresql")
_IDS = StatementBy(_ids_to_give)
"""The ids that come next: one a row; of SQLite, which has one writer, the last one given."""
HEAD = Statement(lambda: select_of(AuditHead.seq, AuditHead.digest).where(col(AuditHead.id) == 1))


def _move_head(dialect: DialectName) -> Any:
    moved = {
        getattr(AuditHead, name): value_of(getattr(AuditHead, name), name)
        for name in ("seq", "digest", "signature", "at")
    }
    key: Any = AuditHead.id
    new = insert_for(dialect, AuditHead).values({key: 1, **moved})
    return new.on_conflict_do_update(
        index_elements=[key], set_={column: new.excluded[column.key] for column in moved}
    )


_MOVE_HEAD = StatementBy(_move_head)


def linked(previous: str, seq: int, event_id: int | None, members: Iterable[Any]) -> str:
    """SHA-256 over the link before and every member of the event, as JSON without spaces, objects
    by name, times as RFC 3339."""
    chained = orjson.dumps((seq, event_id, *members), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"%b\n%b" % (previous.encode(), chained)).hexdigest()


def head_signature(key: bytes, seq: int, digest: str) -> str:
    return hmac.new(key, f"audit head {seq} {digest}".encode(), hashlib.sha256).hexdigest()


def signs(head: AuditHead, keys: Sequence[bytes]) -> bool:
    """Whether its signature is ours."""
    return among(head.signature, (head_signature(key, head.seq, head.digest) for key in keys))


@dataclass(frozen=True)
class Sealed:
    count: int
    seq: int
    digest: str

    @property
    def all_of_it(self) -> bool:
        """Whether nothing was left that had been committed before."""
        return self.count < BATCH


def unsealed(session: Session) -> bool:
    """Whether there is anything to seal."""
    return (
        session.exec(select(AuditEvent.id).where(col(AuditEvent.seq).is_(None)).limit(1)).first()
        is not None
    )


def seal(session: Session, key: bytes) -> Sealed | None:
    """Chain up to `BATCH` committed events and sign the new head; None when there is nothing to
    do or another sealer is at it. `key`: 32 bytes derived from the master key."""
    if not try_to_take(session, Lock.AUDIT_CHAIN):
        return None
    rows = session.execute(
        select(*CHAINED).where(_EVENTS.c.seq.is_(None)).order_by(_EVENTS.c.id).limit(BATCH)
    ).all()
    if not rows:
        return None
    seq, digest = _end(session)
    places = []
    for row in rows:
        seq += 1
        digest = link(digest, seq, row)
        places.append({"event_id": row.id, "place": seq, "link": digest})
    session.connection().execute(_PLACE, places)
    return _sign(session, key, Sealed(len(rows), seq, digest))


def append(work: Work, key: bytes, events: Sequence[Mapping[str, Any]]) -> Sealed | None:
    """Write `events` at the end of the chain, which takes a third of writing them first and sealing
    them later. Where another sealer is at work they are left to it: None.

    At full load thousands of events a second come by here, so the driver takes them as they are.
    """
    sealing = try_to_take(work, Lock.AUDIT_CHAIN)
    seq, digest = _end(work) if sealing else (0, "")
    rows: list[dict[str, Any]] = []
    for event_id, event in zip(_ids(work, len(events)), events, strict=True):
        members = _members(event)
        if sealing:
            seq += 1
            digest = linked(digest, seq, event_id, members)
            rows.append({"id": event_id, **event, "seq": seq, "digest": digest})
        else:
            rows.append({"id": event_id, **event, "seq": None, "digest": None})
    _insert(work, rows)
    return _sign(work, key, Sealed(len(rows), seq, digest)) if sealing else None


def _end(work: Work) -> tuple[int, str]:
    """Place and digest of the last event in the chain."""
    head = execute(work, HEAD, {}).fetchall()
    return (head[0][0], head[0][1]) if head else (0, "")


def _sign(work: Work, key: bytes, sealed: Sealed) -> Sealed:
    signature = head_signature(key, sealed.seq, sealed.digest)
    head = {"seq": sealed.seq, "digest": sealed.digest, "signature": signature, "at": utcnow()}
    execute(work, _MOVE_HEAD, head)
    return sealed


def _ids(work: Work, count: int) -> Sequence[int]:
    found = [row[0] for row in execute(work, _IDS, {"count": count}).fetchall()]
    if dialect(work) == "postgresql":
        return found
    (last,) = found
    return range(last + 1, last + 1 + count)


def _insert(work: Work, rows: list[dict[str, Any]]) -> None:
    if dialect(work) == "postgresql":
        execute(work, _ALL_TOGETHER, {"events": rows})
    else:
        execute(work, _ONE_BY_ONE, rows)


def link(previous: str, seq: int, row: Row[Any] | AuditEvent) -> str:
    """The digest of this event at this place."""
    return linked(previous, seq, row.id, (getattr(row, name) for name in MEMBERS))


def archive_signature(key: bytes, first: int, continues: str, last: int, digest: str) -> str:
    """That events `first` to `last`, which follow `continues`, end in `digest`."""
    signed = f"audit archive {first} {continues} {last} {digest}"
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


def among(signature: str, possible: Iterable[str]) -> bool:
    """Whether it is one of them; how much of it is right, the time does not tell."""
    given = signature.encode()
    return any(hmac.compare_digest(given, each.encode()) for each in possible)
