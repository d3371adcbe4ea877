"""A flood against the queue, second by second, on a clock that no machine slows down."""

import heapq
import random
from itertools import count

import pytest

from identity.authentication.passwords.fair import FairQueue

HASHING = 0.2  # seconds that a job takes the only thread
IDLE = HASHING
SIZE = 32
WORKED_OFF = SIZE * HASHING + 4  # seconds until those are done who came when all were new


class Flood:
    """`hostile` addresses ask again as soon as they are answered; somebody else logs in every
    second. `taken`: seconds of the others' logins, by when they began; for ever where refused."""

    def __init__(self, hostile: int, *, known: bool = False) -> None:
        self.now, self.known = 0.0, known
        self.queue: FairQueue[str] = FairQueue(SIZE, lambda: self.now)
        self.taken: dict[float, float] = {}
        self._served: set[str] = set()
        self._busy = False
        self._numbers = count()
        self._events: list[tuple[float, int, str, str]] = []
        source = random.Random(21)
        for number in range(hostile):
            self._at(source.random() / 100, "ask", f"hostile {number}")
        for second in range(1, 60):
            self._at(second, "ask", f"other {second}")

    def _at(self, moment: float, what: str, who: str) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), what, who))

    def run(self) -> dict[float, float]:
        while self._events and self._events[0][0] < 60:
            self.now, _, what, who = heapq.heappop(self._events)
            if what == "ask":
                self._ask(who)
            else:
                self._busy = False
                self._served.add(who)
                self._answer(who, refused=False)
            if not self._busy and (entry := self.queue.take()) is not None:
                self._busy = True
                self._at(self.now + HASHING, "done", entry.job)
        return self.taken

    def _ask(self, who: str) -> None:
        asked = self.queue.ask(who, f"address of {who}")
        asked.known = who in self._served or (self.known and who.startswith("other"))
        spare = 0 if self._busy else 1
        if not self.queue.has_room(asked, spare):
            self._answer(who, refused=True)
        elif (refused := self.queue.put(who, asked, spare)[1]) is not None:
            self._answer(refused.job, refused=True)

    def _answer(self, who: str, *, refused: bool) -> None:
        if who.startswith("hostile"):
            self._at(self.now + (0.1 if refused else 0.005), "ask", who)
        else:
            began = float(who.split()[1])
            self.taken[began] = float("inf") if refused else self.now - began


@pytest.mark.parametrize("hostile", [1, 20, 100])
def test_others_log_in_as_if_there_were_no_flood(hostile: int) -> None:
    taken = [seconds for began, seconds in Flood(hostile).run().items() if began > WORKED_OFF]
    assert len(taken) > 45
    within = sum(seconds <= 4 * IDLE for seconds in taken) / len(taken)
    assert within >= 0.95


@pytest.mark.parametrize("hostile", [1, 100])
def test_users_where_they_usually_are_notice_nothing_from_the_first_second_on(hostile: int) -> None:
    taken = Flood(hostile, known=True).run()
    assert len(taken) >= 58
    assert max(taken.values()) <= 4 * IDLE
