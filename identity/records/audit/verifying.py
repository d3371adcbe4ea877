"""Whether the chain is whole: all of it, or a stretch at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sqlmodel import Session, col, func, select

from identity.dataclass import dataclass
from identity.records.audit.chain import (
    BATCH,
    CHAINED,
    among,
    archive_signature,
    link,
    signs,
)
from identity.records.audit.table import AuditArchive, AuditEvent, AuditHead
from identity.store import select_of

STRAYS = 100
"""So many are told of."""
NO_DIGEST = "-"
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Fault:
    seq: int
    words: str


class Place(NamedTuple):
    """An event in the chain, as logs and commands name it: `7:1ef63ae8…`. Before all is `0:-`, and
    so is the digest of an event from which it was taken."""

    seq: int
    digest: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest or NO_DIGEST}"

    @classmethod
    def of(cls, text: str) -> "Place | None":
        """None for what is no `SEQ:DIGEST`."""
        seq, _, digest = text.partition(":")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 20 and digest):
            return None
        if int(seq) > LARGEST:
            return None
        return cls(int(seq), "" if digest == NO_DIGEST else digest)


class Verdict(NamedTuple):
    """What was found between two places of the chain."""

    faults: list[Fault]
    begins: Place
    """Behind it, which is not looked at; 0 is before all."""
    ends: Place | None
    """Where it goes on; None: the end of the chain was reached, and its signature looked at."""
    head: Place | None
    """As it stands on record; None: nothing is sealed yet."""
    archived: Place | None
    """What is in archives ends there."""
    unsealed: int


def archived(session: Session, keys: Sequence[bytes]) -> tuple[int, str, list[Fault]]:
    """The last event that is in an archive, its digest, and what is wrong with what is on record
    of the archives."""
    seq, digest, faults = 0, "", []
    for each in session.exec(select(AuditArchive).order_by(col(AuditArchive.first))):
        where = (each.first, each.continues, each.last, each.digest)
        if (each.first, each.continues) != (seq + 1, digest) or each.last < each.first:
            faults.append(Fault(each.first, f"archive {each.file} does not follow event {seq}"))
        elif not among(each.signature, (archive_signature(key, *where) for key in keys)):
            faults.append(Fault(each.first, f"the record of archive {each.file} is not ours"))
        seq, digest = each.last, each.digest
    return seq, digest, faults


def verify(
    session: Session,
    keys: Sequence[bytes],
    *,
    after: Place | None = None,
    most: int | None = None,
    wanted: Place | None = None,
) -> Verdict:
    """Every fault, first to last. `keys`: those that may have signed. What is in archives is left
    to `archive.examine`; the chain goes on where the last one ends.

    At `most` so many events behind `after`, which is where an earlier look ended: whoever names
    another place deceives nobody else. `wanted`: a head from the logs, to be found in the chain."""
    seq, digest, _ = archived(session, keys)
    whole = Place(seq, digest)
    faults: list[Fault] = []
    ends = _walk(session, keys, after, most, faults.append)
    if wanted is not None:
        faults += [Fault(wanted.seq, words) for words in _not_in_chain(session, wanted)]
    head = session.get(AuditHead, 1)
    return Verdict(
        faults,
        begins=whole if after is None or after.seq < seq else after,
        ends=ends,
        head=Place(head.seq, head.digest) if head else None,
        archived=whole if seq else None,
        unsealed=session.exec(select(func.count()).where(col(AuditEvent.seq).is_(None))).one(),
    )


def _walk(
    session: Session,
    keys: Sequence[bytes],
    after: Place | None,
    most: int | None,
    found: Callable[[Fault], None],
) -> Place | None:
    """Where it stopped, having looked at `most`; None: at the end."""
    seq, digest, wrong = archived(session, keys)
    if after is None:
        for fault in (*wrong, *_strays(session, seq)):
            found(fault)
    elif after.seq > seq:
        seq, digest = after
    while True:
        begun, count = seq, 0
        query = select_of(*CHAINED, AuditEvent.seq, AuditEvent.digest)
        query = query.where(col(AuditEvent.seq) > seq).order_by(col(AuditEvent.seq)).limit(most)
        for row in session.execute(query.execution_options(yield_per=BATCH)):
            count += 1
            if row.seq != seq + 1:
                found(Fault(seq + 1, f"events {seq + 1} to {row.seq - 1} are missing"))
            elif link(digest, row.seq, row) != row.digest:
                found(Fault(row.seq, f"event {row.seq} ({row.event}) or its place was changed"))
            seq, digest = row.seq, row.digest or ""
        if most is not None:
            if count == most:
                return Place(seq, digest)
            most -= count
        # Read after the events, for a sealer may have been at work meanwhile: then follow it.
        head = session.get(AuditHead, 1, populate_existing=True)
        if head is None or head.seq <= seq or seq == begun:
            break
    if head is None:
        if seq:
            found(Fault(seq, "the signed head of the chain is missing"))
    elif not signs(head, keys):
        found(Fault(head.seq, "the head's signature is not ours"))
    elif head.seq > seq:
        found(Fault(seq + 1, f"events {seq + 1} to {head.seq} were cut off"))
    elif (head.seq, head.digest) != (seq, digest):
        found(Fault(seq, "the chain does not end at its signed head"))
    return None


def _strays(session: Session, archived_: int) -> Iterator[Fault]:
    """Some of what the chain begins behind."""
    query = select(AuditEvent.seq).where(col(AuditEvent.seq) <= archived_)
    for seq in session.exec(query.order_by(col(AuditEvent.seq)).limit(STRAYS)):
        assert seq is not None
        yield Fault(seq, f"event {seq} stands where another one is archived")


def _not_in_chain(session: Session, wanted: Place) -> list[str]:
    seq, digest = wanted
    found: str | None = session.exec(select(AuditEvent.digest).where(AuditEvent.seq == seq)).first()
    if found is None and (found := _in_archive(session, seq)) == "":
        return [f"event {seq} is archived: give `audit verify --head` the files up to it"]
    if found is None:
        return [f"the chain does not reach the head {seq}: it was cut off"]
    if found != digest.lower():
        return [f"event {seq} is not the one of that head: the chain was written anew"]
    return []


def _in_archive(session: Session, seq: int) -> str | None:
    """The digest of an archive's last event; empty for another one's, None for one of none."""
    query = select(AuditArchive).where(AuditArchive.first <= seq, AuditArchive.last >= seq)
    archive = session.exec(query).first()
    if archive is None:
        return None
    return str(archive.digest) if archive.last == seq else ""
