"""How far the change feed has been read, as a value.

A row of `change` carries the transaction that wrote it. A position is the newest row known, by
(`xid`, `id`), and the older transactions that were still under way in the snapshot that read it.
What was not handed over yet is then either of a later transaction than the newest row's, or of one
of those: nothing else can become visible. Ids say nothing: 7 may be seen before 6.

On SQLite, which has one writer, each row counts as a transaction of its own, and none is open.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

PAGE = 1000
"""Rows that are read together."""


class Row(NamedTuple):
    """One change as it is handed over."""

    xid: int
    id: int
    nonce: int
    kind: str
    ref: str
    at: datetime | str
    """As the driver gives it, for `store.moment`."""

    @property
    def mark(self) -> "Mark":
        return Mark(self.xid, self.id, self.nonce)


class Mark(NamedTuple):
    """Which row it is: its place in the order, and the random number that no other row has."""

    xid: int
    id: int
    nonce: int


Tell = Callable[[Sequence[Row]], None]

NOTHING = Mark(0, 0, 0)
"""The newest row of an empty table."""


class Position(NamedTuple):
    """`history` names the database, see `of_cluster`; 0 on SQLite, where the newest row says all.
    `open`: transactions older than the newest row's that were under way."""

    history: int
    newest: Mark
    open: frozenset[int] = frozenset()

    @property
    def floor(self) -> int:
        """The oldest transaction of which something may yet come. It never falls."""
        return min(self.open, default=self.newest.xid)

    @property
    def wire(self) -> int:
        """The position as it travels: greater than those before it in the same history.

        Two are equal only where the same has been told: while the newest row stays, `open` can
        but shrink.
        """
        number = self.history << _HISTORY_SHIFT | self.floor << _FLOOR_SHIFT
        number |= self.newest.xid << _XID_SHIFT | self.newest.nonce << _NONCE_SHIFT
        return number | _MOST_OPEN - min(len(self.open), _MOST_OPEN)


_OPEN_BITS, _NONCE_BITS, _XID_BITS, _HISTORY_BITS = 18, 62, 64, 48
_MOST_OPEN = (1 << _OPEN_BITS) - 1
"""PostgreSQL has 2^18 - 1 connections at the most."""
_NONCE_SHIFT = _OPEN_BITS
_XID_SHIFT = _NONCE_SHIFT + _NONCE_BITS
_FLOOR_SHIFT = _XID_SHIFT + _XID_BITS
_HISTORY_SHIFT = _FLOOR_SHIFT + _XID_BITS
_WIRE_BITS = _HISTORY_SHIFT + _HISTORY_BITS


class Travelled(NamedTuple):
    """What a position says that has been away: `xid` and `nonce` are those of its newest row."""

    history: int
    floor: int
    xid: int
    nonce: int

    @classmethod
    def read(cls, number: int) -> "Travelled | None":
        """None for a number that no position has."""
        if number < 0 or number.bit_length() > _WIRE_BITS:
            return None
        xid_mask = (1 << _XID_BITS) - 1
        return cls(
            number >> _HISTORY_SHIFT,
            number >> _FLOOR_SHIFT & xid_mask,
            number >> _XID_SHIFT & xid_mask,
            number >> _NONCE_SHIFT & (1 << _NONCE_BITS) - 1,
        )


def of_cluster(system: str, timeline: int, table: int) -> int:
    """The number of a history: a system identifier, the timeline, the oid of `change`."""
    seed = f"{system}/{timeline}/{table}".encode()
    return int.from_bytes(hashlib.sha256(seed).digest()[: _HISTORY_BITS // 8]) or 1


def advanced(position: Position, newest: Mark, under_way: Iterable[int]) -> Position:
    """The position of who has heard everything in a snapshot in which `under_way` was running.

    `newest`: of the rows that it was told; those that came late are older than what it knew.
    """
    newest = max(position.newest, newest)
    return Position(position.history, newest, frozenset(x for x in under_way if x < newest.xid))


def under_way(snapshot: str) -> Iterator[int]:
    """The members of a `pg_snapshot`, `xmin:xmax:xip,xip,…`."""
    members = snapshot[snapshot.rindex(":") + 1 :]
    return map(int, members.split(",")) if members else iter(())
