"""Old events leave the database for archive files, whole stretches of the chain at a time.

A stretch is planned, and its file written; then one transaction deletes its events and records the
archive. Cut off in between, the next run finds the file and goes on from there. Only what a signed
head vouches for is archived: who changed the database does not get it signed.
"""

import fcntl
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, Table, delete
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.records.audit.archive import Event, Stretch, examine, lines, prefix
from identity.records.audit.chain import (
    BATCH,
    MEMBERS,
    archive_signature,
    linked,
    signs,
)
from identity.records.audit.table import AuditArchive, AuditEvent, AuditHead
from identity.records.audit.verifying import archived
from identity.store import Database
from identity.store.new_files import new_file

STRETCH = 10_000
"""Events of a file, which one transaction deletes."""
SLACK = timedelta(days=1)
"""How long the service waits for a stretch to be full: quiet ones get a file a day."""

_EVENTS: Table = AuditEvent.__table__  # type: ignore[attr-defined]


class Broken(Exception):
    """The chain or the folder is not as it was left: nothing is archived, so that it can be looked
    into."""


class Overtaken(Exception):
    """Another process has archived these events meanwhile."""


@dataclass(frozen=True)
class Archives:
    """Where to, and signed by which keys, the one in force first. `stopped` is asked now and then:
    whether to leave the rest for another time."""

    db: Database
    folder: Path
    keys: Sequence[bytes]
    stopped: Callable[[], bool] = lambda: False

    def make(self, horizon: datetime, *, whole: bool = False) -> Iterator[AuditArchive]:
        """Archive what happened before `horizon`; each archive once it is on record. `whole`: no
        stretch that is not full. None at all while another process is at it. Raises `Broken`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self.folder) as alone:
            if not alone:
                return
            for draft in self.folder.glob(".audit-*"):
                draft.unlink()  # of a process that was cut off
            with self.db.snapshot() as session:
                left = self._left(session)
                planned = self._plan(session, horizon, left, whole=whole)
            for stretch in planned:
                if self.stopped():
                    return
                written = stretch != left and self._written(stretch)
                try:
                    with self.db.transaction() as session:
                        record = self._record(session, stretch)
                except Overtaken:
                    if written:
                        (self.folder / stretch.file).unlink()
                    return
                yield record

    def _left(self, session: Session) -> Stretch | None:
        """The stretch that was written, and whose events are here yet."""
        seq, digest, _ = archived(session, self.keys)
        for path in sorted(self.folder.glob(f"{prefix(seq + 1)}*")):
            stretch = self._examined(path)
            if stretch is None or stretch.continues != digest:
                continue
            if _digest_of(session, stretch.last) == stretch.digest:
                return stretch
        return None

    def _plan(
        self, session: Session, horizon: datetime, left: Stretch | None, *, whole: bool
    ) -> list[Stretch]:
        """What to archive, once all up to the next signed head was found to be unchanged."""
        seq, digest, faults = archived(session, self.keys)
        if faults:
            raise Broken(faults[0].words)
        plan, signed = _Plan(seq + 1, digest, left, whole=whole), self._signed(session)
        old = True
        with closing(_events(session, seq + 1)) as events:
            for event, at in events:
                if event.seq % BATCH == 0 and self.stopped():
                    return []
                if old and at >= horizon:
                    old = False
                    plan.end(seq, digest)
                    if not plan.stretches or seq in signed:
                        return plan.stretches
                _check(event, seq, digest)
                seq, digest = event.seq, event.digest
                if signed.get(seq, digest) != digest:
                    raise Broken(f"event {seq} is not the one that was sealed")
                if old:
                    plan.follow(seq, digest)
                elif seq in signed:
                    return plan.stretches
        if max(signed, default=0) > seq or (plan.first <= seq and seq not in signed):
            raise Broken(f"the chain does not end at its signed head, but with event {seq}")
        if old:
            plan.end(seq, digest)
        return plan.stretches

    def _signed(self, session: Session) -> dict[int, str]:
        """Heads of the chain that we signed, the present one among them; empty: nothing is
        sealed."""
        head = session.get(AuditHead, 1)
        if head is None:
            if session.exec(select(AuditEvent.seq).where(col(AuditEvent.seq).is_not(None))).first():
                raise Broken("the signed head of the chain is missing")
            return {}
        if not signs(head, self.keys):
            raise Broken("the head's signature is not ours")
        earlier = (
            AuditHead(seq=a.head_seq, digest=a.head_digest, signature=a.head_signature, at=a.at)
            for a in session.exec(select(AuditArchive))
        )
        return {h.seq: h.digest for h in (*earlier, head) if h is head or signs(h, self.keys)}

    def _written(self, stretch: Stretch) -> bool:
        """Whether it was this process that wrote its file."""
        path = self.folder / stretch.file
        try:
            with new_file(path) as draft, self.db.snapshot() as session:
                events = (event for event, _ in _events(session, stretch.first, stretch.last))
                with open(draft.descriptor, "wb", closefd=False) as opened:
                    opened.writelines(lines(stretch, _checked(stretch, events), self.keys[0]))
        except FileExistsError:
            if self._examined(path) != stretch:
                raise Broken(f"{path}: is there, and is not the archive of these events") from None
            return False
        return True

    def _examined(self, path: Path) -> Stretch | None:
        with path.open("rb") as opened:
            found = examine(opened, self.keys)
        return None if found.faults else found.stretch

    def _record(self, session: Session, stretch: Stretch) -> AuditArchive:
        """Its events are gone, and where they are is known, in this transaction."""
        here = (_EVENTS.c.seq >= stretch.first, _EVENTS.c.seq <= stretch.last)
        gone = cast(CursorResult[Any], session.execute(delete(_EVENTS).where(*here))).rowcount
        seq, digest, _ = archived(session, self.keys)
        if (seq + 1, digest) != (stretch.first, stretch.continues):
            raise Overtaken
        if gone != stretch.last - stretch.first + 1:
            raise Broken(f"events {stretch.first} to {stretch.last} have changed meanwhile")
        head = session.get_one(AuditHead, 1)
        record = AuditArchive(
            **stretch._asdict(), file=stretch.file, at=utcnow(),
            signature=archive_signature(self.keys[0], *stretch),
            head_seq=head.seq, head_digest=head.digest, head_signature=head.signature,
        )  # fmt: skip
        session.add(record)
        return record


class _Plan:
    """Events as they are looked through, and where the stretches are cut."""

    def __init__(self, first: int, continues: str, left: Stretch | None, *, whole: bool) -> None:
        self.stretches: list[Stretch] = []
        self.first, self._continues = first, continues
        self._until = left.last if left else 0
        self._whole = whole

    def follow(self, seq: int, digest: str) -> None:
        if seq == (self._until if self.first <= self._until else self.first + STRETCH - 1):
            self._cut(seq, digest)

    def end(self, seq: int, digest: str) -> None:
        """With event `seq`, the last one that is old enough. The file that is there already is
        not cut in two."""
        if not self._whole and max(self.first, self._until + 1) <= seq:
            self._cut(seq, digest)

    def _cut(self, seq: int, digest: str) -> None:
        self.stretches.append(Stretch(self.first, self._continues, seq, digest))
        self.first, self._continues = seq + 1, digest


def due(session: Session, horizon: datetime, retention: timedelta) -> bool | None:
    """Whether the service is to archive: True what there is, False what is full, None nothing."""
    last = session.exec(select(AuditArchive.last).order_by(col(AuditArchive.last).desc())).first()
    place = (last or 0) + 1
    oldest, full = (_at(session, seq) for seq in (place, place + STRETCH - 1))
    if oldest is not None and oldest < horizon - min(retention, SLACK):
        return True
    return False if full is not None and full < horizon else None


def sign_anew(session: Session, keys: Sequence[bytes]) -> None:
    """Under the first of `keys`, before the others are forgotten; what is wrong stays wrong."""
    for each in session.exec(select(AuditArchive)):
        where = (each.first, each.continues, each.last, each.digest)
        if each.signature in [archive_signature(key, *where) for key in keys]:
            each.signature = archive_signature(keys[0], *where)
            session.add(each)


def _at(session: Session, seq: int) -> datetime | None:
    return session.exec(select(AuditEvent.at).where(AuditEvent.seq == seq)).first()


def _digest_of(session: Session, seq: int) -> str | None:
    return session.exec(select(AuditEvent.digest).where(AuditEvent.seq == seq)).first()


def _events(
    session: Session, first: int, last: int | None = None
) -> Generator[tuple[Event, datetime]]:
    """In the chain's order, with the time of each. `last` None: to the chain's end."""
    c = _EVENTS.c
    query = select(c.seq, c.id, c.digest, *(c[name] for name in MEMBERS)).where(c.seq >= first)
    if last is not None:
        query = query.where(c.seq <= last)
    with session.execute(query.order_by(c.seq).execution_options(yield_per=BATCH)) as rows:
        for seq, event_id, digest, *members in rows:
            yield Event(seq, event_id, members, digest), members[0]


def _check(event: Event, seq: int, digest: str) -> None:
    """That it follows event `seq`. Raises `Broken`."""
    if event.seq != seq + 1:
        raise Broken(f"events {seq + 1} to {event.seq - 1} are missing")
    if linked(digest, event.seq, event.id, event.members) != event.digest:
        raise Broken(f"event {event.seq} or its place was changed")


def _checked(stretch: Stretch, events: Iterator[Event]) -> Iterator[Event]:
    """`events`, which must be those that were planned. Raises `Broken`."""
    seq, digest = stretch.first - 1, stretch.continues
    for event in events:
        _check(event, seq, digest)
        seq, digest = event.seq, event.digest
        yield event
    if (seq, digest) != (stretch.last, stretch.digest):
        raise Broken(f"events {stretch.first} to {stretch.last} have changed meanwhile")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process archives there; whoever is cut off holds nobody up."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
