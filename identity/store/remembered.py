"""What a process remembers of the database, bounded, and never older than the change feed.

The caller has awaited `feed.catch_up()`; then `get` answers with what was true at that moment or
later. Only what exists is remembered: asking for what does not exist fills nothing up.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from identity.store.changes import ChangeFeed

V = TypeVar("V")


class Lookups:
    """A cache counts for itself: `lookups.hits += 1`."""

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0


class Remembered(Generic[V]):
    """Values by id, the least recently used dropped beyond `size`.

    `load` reads one from the database, None where there is none.
    A change of `noun` forgets the one it names, a change of any of `wholesale` forgets all.
    """

    def __init__(
        self,
        feed: ChangeFeed,
        load: Callable[[str], Awaitable[V | None]],
        *,
        noun: str,
        wholesale: Iterable[str] = (),
        size: int,
        lookups: Lookups,
    ) -> None:
        self._feed = feed
        self._load = load
        self._size = size
        self._lookups = lookups
        self._values: OrderedDict[str, V] = OrderedDict()
        self._changes = 0
        feed.listen(noun, self._forget)
        for other in wholesale:
            feed.listen(other, lambda _verb, _ref: self._forget("reset", "*"))

    def at_hand(self, ref: str) -> V | None:
        """What is remembered: no query, no wait. `get` where it is None."""
        value = self._values.get(ref)
        if value is not None:
            self._lookups.hits += 1
            self._values.move_to_end(ref)
        return value

    async def get(self, ref: str) -> V | None:
        """The value, read from the database where it is not remembered."""
        value = self.at_hand(ref)
        if value is not None:
            return value
        self._lookups.misses += 1
        before = self._changes
        value = await self._load(ref)
        # Nothing changed while we read, and nobody met another history.
        if value is not None and before == self._changes and self._feed.steady:
            self._values[ref] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    async def look_up(self, ref: str) -> None:
        """Take as long as `get` takes for what is not remembered."""
        await self._load(ref)

    def forget(self, ref: str) -> None:
        """What is remembered of it may be out of date for another reason than a change."""
        self._values.pop(ref, None)

    def _forget(self, verb: str, ref: str) -> None:
        self._changes += 1
        if verb == "reset":
            self._values.clear()
        else:
            self._values.pop(ref, None)
