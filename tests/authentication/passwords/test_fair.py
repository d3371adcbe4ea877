"""Whose turn it is: a queue driven by hand, then by whatever hypothesis thinks of."""

from collections import Counter

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from identity.authentication.passwords.fair import (
    HEAD_START,
    PER_ACCOUNT,
    REMEMBERED,
    FairQueue,
    Waiting,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> FairQueue[str]:
    return FairQueue(4, clock)


def put(queue: FairQueue[str], account: str, address: str, *, known: bool = False) -> str | None:
    """The job that is refused for this one, whose name is the account's."""
    asked = queue.ask(account, address)
    asked.known = known
    _, refused = queue.put(account, asked)
    return refused.job if refused else None


def order(queue: FairQueue[str]) -> list[str]:
    taken = []
    while (entry := queue.take()) is not None:
        taken.append(entry.job)
    return taken


def test_of_those_who_asked_for_equally_little_the_oldest_goes_first(
    queue: FairQueue[str], clock: Clock
) -> None:
    for name in ("ada", "bob", "eve"):
        assert put(queue, name, f"at {name}") is None
        clock.now += 0.1
    assert order(queue) == ["ada", "bob", "eve"]


def test_whoever_was_served_before_goes_after_whoever_was_not(
    queue: FairQueue[str], clock: Clock
) -> None:
    for _ in range(3):
        put(queue, "busy", "gateway")
        queue.take()
    put(queue, "busy", "gateway")
    put(queue, "busy too", "gateway")
    clock.now += 1
    put(queue, "quiet", "elsewhere")
    assert order(queue) == ["quiet", "busy too", "busy"]


def test_what_was_asked_for_long_ago_is_forgotten(queue: FairQueue[str], clock: Clock) -> None:
    for _ in range(100):
        put(queue, "busy", "gateway")
        queue.take()
    clock.now += 3600
    put(queue, "busy", "gateway")
    clock.now += 1
    put(queue, "quiet", "elsewhere")
    assert order(queue) == ["busy", "quiet"]


def test_in_a_full_queue_the_address_with_most_gives_up_its_newest(queue: FairQueue[str]) -> None:
    for number in range(4):
        put(queue, f"hostile {number}", "one address")
    assert put(queue, "ada", "home") == "hostile 3"
    assert put(queue, "hostile 4", "one address") == "hostile 4"
    assert put(queue, "bob", "office") == "hostile 2"
    assert put(queue, "eve", "hotel") == "hostile 1"
    assert sorted(order(queue)) == ["ada", "bob", "eve", "hostile 0"]


def test_among_addresses_with_as_many_whoever_asked_for_most_gives_way(
    queue: FairQueue[str],
) -> None:
    for number in range(4):
        for _ in range(number):
            queue.ask("somebody", f"address {number}")
        put(queue, f"hostile {number}", f"address {number}")
    assert put(queue, "ada", "home") == "hostile 3"


def test_a_user_where_they_usually_are_comes_before_addresses_never_seen(
    queue: FairQueue[str], clock: Clock
) -> None:
    for number in range(4):
        put(queue, f"hostile {number}", f"address {number}")
    clock.now += 1
    assert put(queue, "stranger", "nowhere") == "stranger"
    assert put(queue, "ada", "home", known=True) == "hostile 3"
    assert order(queue)[0] == "ada"


def test_an_account_under_attack_has_a_place_for_its_owner(queue: FairQueue[str]) -> None:
    for _ in range(30):
        put(queue, "ada", "attacker")
    assert len(queue) == PER_ACCOUNT
    assert put(queue, "ada", "home") == "ada"
    assert {entry.address for entry in queue.clear()} == {"attacker", "home"}


def test_whether_there_is_room_is_known_before(queue: FairQueue[str]) -> None:
    for _ in range(PER_ACCOUNT):
        put(queue, "mallory", "lair")
    assert not queue.has_room(queue.ask("mallory", "lair"))
    assert queue.has_room(queue.ask("mallory", "lair"), spare=1)
    assert queue.has_room(queue.ask("ada", "lair"))


def test_memory_is_bounded(queue: FairQueue[str]) -> None:
    for number in range(3 * REMEMBERED):
        queue.ask("x", str(number))
    assert len(queue._asked) <= REMEMBERED


class AnyTraffic(RuleBasedStateMachine):
    """Few accounts and addresses, so that they meet; the queue beside a plain list of who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: FairQueue[int] = FairQueue(5, self.clock)
        self.waiting: list[Waiting[int]] = []
        self.number = 0

    @rule(account=st.sampled_from("abcdefgh"), address=st.sampled_from("123"), known=st.booleans())
    def arrive(self, account: str, address: str, known: bool) -> None:
        asked = self.queue.ask(account, address)
        asked.known = known
        full = len(self.waiting) == 5
        rivals = [one for one in self.waiting if one.account == account]
        entry, refused = self.queue.put(self.number, asked)
        self.number += 1
        self.waiting.append(entry)
        assert (refused is not None) == (full or len(rivals) == PER_ACCOUNT)
        if refused is None:
            return
        # Nobody gives way to an address that has more where the place is missing.
        among = [*rivals, entry] if len(rivals) == PER_ACCOUNT else self.waiting
        places = Counter(one.address for one in among)
        assert places[refused.address] == max(places.values())
        assert refused in among
        self.waiting.remove(refused)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        entry = self.queue.take()
        assert (entry is None) == (not self.waiting)  # nobody waits beside an idle thread
        if entry is None:
            return
        self.waiting.remove(entry)
        # Nobody is overtaken by who came when it was their turn already.
        assert all(entry.arrived <= one.due + HEAD_START for one in self.waiting)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.waiting))
        self.queue.withdraw(entry)
        self.queue.withdraw(entry)
        self.waiting.remove(entry)

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.queue) == len(self.waiting) <= 5
        accounts = Counter(one.account for one in self.waiting)
        assert all(count <= PER_ACCOUNT for count in accounts.values())

    @invariant()
    def no_turn_is_far_away(self) -> None:
        """So nobody starves: whoever comes after that is behind."""
        assert all(one.due - one.arrived <= 1200 for one in self.waiting)


AnyTraffic.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)
TestAnyTraffic = AnyTraffic.TestCase
