"""A flood against the queue, second by second, on a clock that no machine slows down."""

import heapq
import random
from itertools import count

import pytest

from identity.authentication.passwords.fair import LONGEST_WAIT, FairQueue

SIZE = 32
OTHERS = 40


class Flood:
    """`hostile` addresses ask again as soon as they are answered; somebody else logs in, four
    times as seldom as the only thread could do it. `hashing`: seconds that a job takes this.
    `taken`: seconds of the others' logins, by when they began; for ever where refused."""

    def __init__(self, hostile: int, *, hashing: float = 0.2, known: bool = False) -> None:
        self.now, self.known, self.hashing = 0.0, known, hashing
        self.hashed = 0
        self.queue: FairQueue[str] = FairQueue(SIZE, lambda: self.now)
        self.taken: dict[float, float] = {}
        self._served: set[str] = set()
        self._busy = False
        self._numbers = count()
        self._events: list[tuple[float, int, str, str]] = []
        source = random.Random(21)
        for number in range(hostile):
            self._at(source.random() / 100, "ask", f"hostile {number}")
        self._until = 4 * hashing * OTHERS
        for number in range(1, OTHERS):
            self._at(4 * hashing * number, "ask", f"other {4 * hashing * number}")

    def _at(self, moment: float, what: str, who: str) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), what, who))

    def run(self) -> dict[float, float]:
        while self._events and self._events[0][0] < self._until:
            self.now, _, what, who = heapq.heappop(self._events)
            if what == "ask":
                self._ask(who)
            else:
                self._busy = False
                self._served.add(who)
                self._answer(who, refused=False)
            while not self._busy and (entry := self.queue.take()) is not None:
                if not self.queue.in_time(entry):
                    self._answer(entry.job, refused=True)
                    continue
                self._busy = True
                self.hashed += 1
                self._at(self.now + self.hashing, "done", entry.job)
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
            self._at(self.now + self.hashing / (2 if refused else 40), "ask", who)
        else:
            began = float(who.split()[1])
            self.taken[began] = float("inf") if refused else self.now - began


@pytest.mark.parametrize("hashing", [0.2, 1.3])
@pytest.mark.parametrize("hostile", [1, 20, 100])
def test_others_log_in_as_if_there_were_no_flood_once_those_are_gone_who_came_when_all_were_new(
    hostile: int, hashing: float
) -> None:
    flood = Flood(hostile, hashing=hashing)
    # Meanwhile others came, whose quarter of the thread's time is then to be made up for.
    settled = min(SIZE * hashing, LONGEST_WAIT) * 4 / 3 + 2 * hashing
    taken = [seconds for began, seconds in flood.run().items() if began > settled]
    assert len(taken) > OTHERS / 2
    assert max(taken) <= 4 * hashing
    # Nobody pays for it with a thread that has nothing to do.
    assert flood.hashed >= 4 * OTHERS - SIZE


@pytest.mark.parametrize("hostile", [1, 100])
def test_users_where_they_usually_are_notice_nothing_from_the_first_second_on(hostile: int) -> None:
    flood = Flood(hostile, known=True)
    taken = flood.run()
    assert len(taken) >= OTHERS - 2
    assert max(taken.values()) <= 4 * flood.hashing
