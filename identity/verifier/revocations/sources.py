"""Where knowledge of revocations comes from: what a verifier asks of each way of knowing."""

from __future__ import annotations

import asyncio
from typing import Literal

from identity.verifier.clocks import Clock
from identity.verifier.revocations.denylist import Denylist, Entry, Subject, Verdict

Mode = Literal["stream", "poll", "status-list", "introspection"]


class Source:
    """Every source has a denylist, which `apply` may add to whoever it was that knew.

    This one is for tokens that are good until they expire, or that are asked about one by one.
    """

    def __init__(self, clock: Clock, verdict: Verdict = Verdict.ALIVE) -> None:
        self.clock = clock
        self.denylist = Denylist()
        self._verdict = verdict

    def judge(self, token: Subject, at: float) -> Verdict:
        """Without network or lock; `at` is monotonic time."""
        verdict = self.denylist.judge(token)
        return self._verdict if verdict is Verdict.ALIVE else verdict

    async def learn(self, token: Subject) -> None:
        """Try to make `judge` certain about this token. Never raises."""

    def apply(self, entry: Entry) -> None:
        self.denylist.add(entry)

    def proved(self, at: float) -> None:
        """The issuer has shown at monotonic time `at` that nothing is missing here."""

    @property
    def staleness(self) -> float:
        """Seconds since all that the issuer had revoked was known here; infinite before the
        first time, 0 where nothing has to be known."""
        return 0.0

    async def run(self) -> None:
        """Keep knowing, for ever."""
        await asyncio.Event().wait()

    async def ready(self) -> None:
        """Returns once knowledge is fresh, or the first try to get it has failed."""
