"""A stretch of the chain as a file that verifies on its own.

JSON lines: what it continues, its events in order, and where it ends, signed. Each line is spelled
in one way only (members by name, no spaces), so that no octet of it can change unnoticed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import orjson

from identity.records.audit.chain import MEMBERS, among, archive_signature, linked

LONGEST = 16 * 1024 * 1024
"""Octets of a line that is read: an event is a request's body or two."""
_FORMAT = 1
_EVENT = {"seq": int, "id": int, "digest": str}
_BEGIN = {"archive": int, "continues": str, "first": int}
_END = {"digest": str, "last": int, "signature": str}


class Stretch(NamedTuple):
    """Events `first` to `last`. `continues`: the digest of the one before, empty for the first
    of all; `digest`: that of the last."""

    first: int
    continues: str
    last: int
    digest: str

    @property
    def file(self) -> str:
        """Its name, in whose order archives follow one another."""
        return f"{prefix(self.first)}{self.last:012}-{self.digest[:8]}.jsonl"


def prefix(first: int) -> str:
    """How the name of an archive that begins with this event does."""
    return f"audit-{first:012}-"


class Event(NamedTuple):
    seq: int
    id: int
    members: Sequence[Any]
    """In the order of `MEMBERS`."""
    digest: str


def lines(stretch: Stretch, events: Iterable[Event], key: bytes) -> Iterator[bytes]:
    """The file of `stretch`, line by line."""
    first, continues, last, digest = stretch
    yield _line({"archive": _FORMAT, "first": first, "continues": continues})
    for event in events:
        named = dict(zip(MEMBERS, event.members, strict=True))
        yield _line({**named, "seq": event.seq, "id": event.id, "digest": event.digest})
    yield _line({"last": last, "digest": digest, "signature": archive_signature(key, *stretch)})


class Examined(NamedTuple):
    stretch: Stretch | None
    """What the file holds; None where it does not say."""
    faults: list[str]
    heads: dict[int, str]
    """The digests of the events that were asked for."""


def examine(file: BinaryIO, keys: Sequence[bytes], wanted: Sequence[int] = ()) -> Examined:
    """What is wrong with an archive. `keys`: those that may have signed it."""
    reading = _Reading(file)
    heads: dict[int, str] = {}
    try:
        begin = reading.next(_BEGIN)
        if begin["archive"] != _FORMAT or begin["first"] < 1:
            raise _Unreadable("line 1: is not the beginning of an audit archive")
        seq, digest = begin["first"] - 1, begin["continues"]
        while "signature" not in (found := reading.next(None)):
            _typed(found, _EVENT, MEMBERS, reading.number)
            members = [found[name] for name in MEMBERS]
            if found["seq"] != seq + 1:
                reading.fault(f"event {found['seq']} stands where {seq + 1} belongs")
            elif linked(digest, found["seq"], found["id"], members) != found["digest"]:
                reading.fault(f"event {found['seq']} or its place was changed")
            seq, digest = found["seq"], found["digest"]
            if seq in wanted:
                heads[seq] = digest
        _typed(found, _END, (), reading.number)
        if (found["last"], found["digest"]) != (seq, digest):
            reading.fault("the events do not end where the archive does")
        stretch = Stretch(begin["first"], begin["continues"], found["last"], found["digest"])
        if not among(found["signature"], (archive_signature(key, *stretch) for key in keys)):
            reading.fault("the signature is not by a master key in force")
        if file.read(1):
            raise _Unreadable(f"line {reading.number + 1}: comes after the end")
    except _Unreadable as why:
        return Examined(None, [*reading.faults, str(why)], heads)
    return Examined(stretch, reading.faults, heads)


class _Unreadable(Exception):
    """What comes after it means nothing."""


class _Reading:
    """The file's lines, as what they say."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.faults: list[str] = []

    def fault(self, words: str) -> None:
        self.faults.append(f"line {self.number}: {words}")

    def next(self, types: dict[str, type] | None) -> dict[str, Any]:
        line = self._file.readline(LONGEST)
        self.number += 1
        if not line.endswith(b"\n"):
            why = "is cut off" if line else "is missing: the archive was cut off"
            raise _Unreadable(f"line {self.number}: {why}")
        try:
            found = orjson.loads(line)
            as_written = isinstance(found, dict) and _line(found) == line
        except (ValueError, TypeError):
            as_written = False
        if not as_written:
            raise _Unreadable(f"line {self.number}: was changed, or is no line of an archive")
        if types is not None:
            _typed(found, types, (), self.number)
        named: dict[str, Any] = found
        return named


def _typed(
    found: dict[str, Any], types: dict[str, type], others: Sequence[str], number: int
) -> None:
    """Raise unless it has these members and no more."""
    if found.keys() != {*types, *others} or any(
        type(found[name]) is not kind for name, kind in types.items()
    ):
        raise _Unreadable(f"line {number}: was changed, or is no line of an archive")


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
