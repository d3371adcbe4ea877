"""Who is hashed next, and who gives way when there is no place left: fair by account and address.

Everybody who asks is put behind by what they asked for lately, whatever came of it: a job is due
when it arrives, later by `STEP` for every doubling of what its address, and its account from
there, have asked for together. Whoever is due first goes first. So the oldest of those who were
served least is next; a quiet address is not held up by a busy one, whether that has one account or
thousands, right passwords or wrong ones; and nobody waits for ever, because a job keeps its time
while all that come later are due later.

Bounds: `PER_ACCOUNT` jobs of one account wait, `size` in all, and none for longer than
`LONGEST_WAIT`: as long as a hundred addresses are new nothing tells them from users, so those who
came first are in front, and on a slow machine they would be for most of a minute. Over a bound it
is not the newcomer who is refused, but the newest job of the address with most jobs there; among
equals, of the one that asked for most.

Pure: no thread, no lock, and the time is given.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar

from identity.dataclass import dataclass

J = TypeVar("J")
T = TypeVar("T")

PER_ACCOUNT = 2
HALF_LIFE = 60.0
"""Seconds after which half of what was asked for is forgotten."""
STEP = HALF_LIFE
"""Seconds that a job is put behind for every doubling of what was asked for before: to have waited
so long makes up for half of it. Much longer than a full queue takes, or those who wait in it would
soon be ahead of whoever comes."""
HEAD_START = 30.0
"""Seconds that a job goes before others where the account has logged in from its address before:
in a flood from many addresses that are new, users come first where they usually are."""
LONGEST_WAIT = 10.0
"""Seconds after which a job is refused instead of hashed."""
REMEMBERED = 4096
"""Addresses and accounts of whose asking something is known, the latest."""


@dataclass(slots=True)
class Asked:
    """Somebody wants a password hashed. `account` and `address` are compared, nothing else."""

    account: str
    address: str
    behind: float
    """Seconds by which what they asked for before puts them back."""
    known: bool = False
    """The account has logged in from this address before."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[J]):
    job: J
    account: str
    address: str
    known: bool
    arrived: float
    due: float
    number: int


class FairQueue(Generic[J]):
    """`size`: how many may wait. `clock`: seconds, never going back."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self.size = size
        self._clock = clock
        self._waiting: list[Waiting[J]] = []
        self._asked: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, account: str, address: str) -> Asked:
        """Count that somebody asks; what `has_room` and `put` take."""
        before = self._count(address) + self._count(address, account)
        return Asked(account, address, STEP * math.log2(1 + before))

    def has_room(self, asked: Asked, spare: int = 0) -> bool:
        """Whether there may be a place for them: perhaps the account is known at the address."""
        same = [
            one.known
            for one in self._waiting
            if (one.account, one.address) == (asked.account, asked.address)
        ]
        newcomer: Waiting[None] = self._entry(None, asked, known=all(same))
        return self._who_gives_way(newcomer, spare) is not newcomer

    def put(self, job: J, asked: Asked, spare: int = 0) -> tuple[Waiting[J], Waiting[J] | None]:
        """The job's entry, and the entry that is refused for it: another's, its own, or None.
        `spare`: idle threads, which will take as many in a moment."""
        newcomer: Waiting[J] = self._entry(job, asked, known=asked.known)
        refused = self._who_gives_way(newcomer, spare)
        if refused is not newcomer:
            if refused is not None:
                self._waiting.remove(refused)
            self._waiting.append(newcomer)
        return newcomer, refused

    def take(self) -> Waiting[J] | None:
        """The job that is due first; None when nobody waits."""
        if not self._waiting:
            return None
        first = min(self._waiting, key=lambda one: (one.due, one.number))
        self._waiting.remove(first)
        return first

    def in_time(self, entry: Waiting[J]) -> bool:
        """Whether a job that was taken is still to be done."""
        return self._clock() - entry.arrived <= LONGEST_WAIT

    def withdraw(self, entry: Waiting[J]) -> None:
        """Give up its place, if it still has one."""
        if entry in self._waiting:
            self._waiting.remove(entry)

    def longest(self) -> float | None:
        """Seconds that the one who came first has waited; None when nobody waits."""
        if not self._waiting:
            return None
        return self._clock() - min(one.arrived for one in self._waiting)

    def clear(self) -> list[Waiting[J]]:
        """All who wait, who wait no more."""
        everybody, self._waiting = self._waiting, []
        return everybody

    def _entry(self, job: T, asked: Asked, *, known: bool) -> Waiting[T]:
        now = self._clock()
        due = now + asked.behind - HEAD_START * known
        return Waiting(job, asked.account, asked.address, known, now, due, next(self._numbers))

    def _who_gives_way(self, newcomer: Waiting[Any], spare: int) -> Waiting[Any] | None:
        rivals = [one for one in self._waiting if one.account == newcomer.account]
        if len(rivals) < PER_ACCOUNT + spare:
            rivals = self._waiting
            if len(rivals) < self.size + spare:
                return None
        rivals = [*rivals, newcomer]
        places = Counter(one.address for one in rivals)
        return max(rivals, key=lambda one: (places[one.address], one.due, one.number))

    def _count(self, *who: str) -> float:
        """Count one up; what it was before, faded."""
        now = self._clock()
        asked, at = self._asked.pop(who, (0.0, now))
        asked *= math.pow(0.5, (now - at) / HALF_LIFE)
        self._asked[who] = asked + 1, now
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)
        return asked
