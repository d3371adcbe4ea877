"""Which history of the database this process is in.

Every connection says as it is made whose it is: the cluster, its timeline, the server. All that are
in use belong to one history. Whoever meets another one ends the last: connections of before are
severed, for a server that is frozen would keep whoever waits on one, and dropped as they come up;
the change feed forgets what was remembered.
"""

import threading
from typing import NamedTuple, Protocol
from weakref import WeakSet

from identity.dataclass import dataclass
from identity.errors import Unavailable


class History(NamedTuple):
    """`system`: the cluster's identifier. `server`: since when it runs, for two standbys of one
    cluster can both become the same timeline."""

    system: str
    timeline: int
    server: str


class Unfit(Unavailable):
    """This server will never do; `audit` says why."""


class Connected(Protocol):
    """A connection, as far as histories need it. `fragile`: its server has fsync=off."""

    history: History
    fragile: bool
    generation: int

    def sever(self) -> None:
        """By any thread, at any time."""


@dataclass()
class Histories:
    """`generation` counts the histories that were met; `highest` is the timeline of each cluster
    beneath which no server is believed any more."""

    current: History | None = None
    generation: int = 0
    for_tests: bool = False
    """Servers that would lose in a crash what they said they have are good enough."""

    def __post_init__(self) -> None:
        self.highest: dict[str, int] = {}
        self._joined: WeakSet[Connected] = WeakSet()
        self._lock = threading.Lock()

    def is_newest(self, found: History) -> bool:
        """Whether no server of its cluster that is known of is ahead."""
        return found.timeline == self.highest.get(found.system)

    def join(self, made: Connected) -> None:
        """`made` is of a generation from here on, and those of others end. Raises as `meet`, where
        it must not be used."""
        with self._lock:
            before = self.generation
            made.generation = self.meet(made.history, fragile=made.fragile)
            if self.generation != before:
                for other in self._joined:
                    other.sever()
                self._joined.clear()
            self._joined.add(made)

    def meet(self, found: History, *, fragile: bool = False) -> int:
        """The generation that a connection of this history belongs to. `Unavailable` where its
        server was left behind by a failover, `Unfit` where a crash of it loses what was said to
        be done."""
        if fragile and not self.for_tests:
            raise Unfit(audit="this server has fsync=off: a crash would lose what was revoked")
        highest = self.highest.get(found.system, 0)
        if found.timeline < highest:
            raise Unavailable(
                audit=f"this server is at timeline {found.timeline}, the cluster is at {highest}"
            )
        self.highest[found.system] = found.timeline
        if found != self.current:
            self.current = found
            self.generation += 1
        return self.generation
