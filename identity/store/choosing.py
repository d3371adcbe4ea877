"""Which of several hosts a connection to PostgreSQL leads to."""

import time
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from identity.errors import Unavailable
from identity.store.histories import Histories, History

AGAIN = 0.2
"""Seconds until it is considered to ask a host again that takes no writes, while another says
nothing at all. The change feed does it then, for all of the process: a crowd that asks for
connections would else fall upon the standby that is about to take over. All others do it once the
feed has met another history."""
PATIENCE = 0.5
"""Seconds for which the silent ones are waited for, from when they were asked, once one of them
will do."""


class Made(Protocol):
    """A connection that has said whose it is."""

    history: History


C = TypeVar("C", bound=Made)


class Choice(Generic[C]):
    """Which of several hosts, asked side by side: the one at the highest timeline that takes
    writes. A host that is frozen says nothing, and one of the others may take its place meanwhile:
    while somebody is silent, those that take no writes are asked again. `leads`: is the change
    feed's."""

    def __init__(
        self, hosts: Sequence[str], histories: Histories, within: float, *, leads: bool
    ) -> None:
        self._histories = histories
        self._generation = histories.generation
        self._leads = leads
        self._silent = {*hosts}
        self._began = time.monotonic()
        self._within = within
        self._error: BaseException | None = None
        self.found: C | None = None
        self.kept: C | None = None

    @property
    def left(self) -> float:
        """Seconds for which somebody is still waited for; none where it is decided."""
        found = self.found
        if not self._silent or (found and self._histories.is_newest(found.history)):
            return 0.0
        patience = self._within if found is None else PATIENCE
        return max(self._began + patience - time.monotonic(), 0.0)

    def heard(self, host: str, answer: Any) -> bool:
        """What `host` has said, as a future that is done. Whether it will do."""
        self._silent.discard(host)
        if error := answer.exception():
            self._error = error
            return False
        made: C = answer.result()
        if self.found is None or made.history.timeline > self.found.history.timeline:
            self.found = made
        return True

    @property
    def worth_it(self) -> bool:
        """Whether one that took no writes may take them now."""
        return self._leads or self._histories.generation != self._generation

    def decide(self) -> None:
        """Nobody else is waited for; the others are closed by whoever asked them."""
        self.kept = self.found

    def taken(self) -> C:
        """The one that was decided for, or why there is none."""
        if self.kept is None:
            raise self._error or Unavailable(audit="no answer in time")
        return self.kept
