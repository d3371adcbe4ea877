"""The rule of positions against a model of what PostgreSQL does: transactions that begin, write,
commit and roll back in any order, snapshots between them, a server that crashes."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from identity.store.positions import (
    NOTHING,
    Mark,
    Position,
    Travelled,
    advanced,
    of_cluster,
    under_way,
)  # fmt: skip
from tests.proofs import effort


@dataclass
class Server:
    """As much of PostgreSQL as decides what is visible."""

    next_xid: int = 700
    next_id: int = 1
    nonces: int = 0
    running: dict[int, list[Mark]] = field(default_factory=dict)
    visible: set[Mark] = field(default_factory=set)
    durable_xid: int = 700
    """Above any transaction that was committed: after a crash numbering goes on from there."""

    def begin(self) -> int:
        self.next_xid += 1
        self.running[self.next_xid] = []
        return self.next_xid

    def write(self, xid: int) -> None:
        self.nonces += 1
        self.running[xid].append(Mark(xid, self.next_id, self.nonces))
        self.next_id += 1

    def commit(self, xid: int) -> None:
        self.visible.update(self.running.pop(xid))
        self.durable_xid = max(self.durable_xid, xid)

    def roll_back(self, xid: int) -> None:
        del self.running[xid]

    def crash(self) -> None:
        self.running.clear()
        self.next_xid = self.durable_xid


def asked(position: Position, server: Server) -> list[Mark] | None:
    """What the question finds, as its SQL says it; None where the newest row is gone."""
    newest = position.newest
    if newest not in server.visible:
        return None
    return sorted(row for row in server.visible if row.xid > newest.xid or row.xid in position.open)


class Following(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.server = Server()
        first = self.server.begin()
        self.server.write(first)
        self.server.commit(first)
        self.told: list[Mark] = sorted(self.server.visible)
        self.position = advanced(Position(1, NOTHING), self.told[-1], self.server.running)
        self.heard_at = {self.position.wire: frozenset(self.told)}

    @rule()
    def begin(self) -> None:
        self.server.begin()

    @precondition(lambda self: self.server.running)
    @rule(data=st.data(), rows=st.integers(1, 3))
    def write(self, data: st.DataObject, rows: int) -> None:
        xid = data.draw(st.sampled_from(sorted(self.server.running)))
        for _ in range(rows):
            self.server.write(xid)

    @precondition(lambda self: self.server.running)
    @rule(data=st.data(), keep=st.booleans())
    def end(self, data: st.DataObject, keep: bool) -> None:
        xid = data.draw(st.sampled_from(sorted(self.server.running)))
        (self.server.commit if keep else self.server.roll_back)(xid)

    @rule()
    def crash(self) -> None:
        self.server.crash()

    @rule()
    def look(self) -> None:
        found = asked(self.position, self.server)
        assert found is not None
        before = self.position
        self.position = advanced(before, found[-1] if found else before.newest, self.server.running)
        self.told += found
        assert sorted(self.told) == sorted(self.server.visible)  # all, and nothing twice
        assert self.position.floor >= before.floor
        assert self.position.wire >= before.wire
        heard = frozenset(self.told)
        assert self.heard_at.setdefault(self.position.wire, heard) == heard

    @rule()
    def who_resumes_from_the_floor_misses_nothing(self) -> None:
        self.look()
        for wire, heard in self.heard_at.items():
            travelled = Travelled.read(wire)
            assert travelled is not None
            again = {row for row in self.server.visible if row.xid >= travelled.floor}
            assert heard | again == self.server.visible


Following.TestCase.settings = settings(max_examples=effort(100, 400), stateful_step_count=40)
test_a_position_misses_nothing_and_repeats_nothing = pytest.mark.proof(Following.TestCase)


def test_what_postgresql_says_is_under_way_is_read() -> None:
    assert list(under_way("10:20:10,14,15")) == [10, 14, 15]
    assert list(under_way("10:10:")) == []


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**62 - 1))
def test_a_position_that_travelled_says_what_it_was(history: int, xid: int, nonce: int) -> None:
    position = Position(history, Mark(xid, 5, nonce))
    assert Travelled.read(position.wire) == (history, xid, xid, nonce)
    assert len(str(position.wire)) <= 100


@given(st.integers(min_value=0))
def test_any_number_is_a_position_or_none(number: int) -> None:
    travelled = Travelled.read(number)
    assert travelled is None or travelled.nonce < 2**62
    assert Travelled.read(number + 2**256) is None


def test_each_part_of_a_cluster_makes_another_history() -> None:
    numbers = {of_cluster("7", 1, 16), of_cluster("8", 1, 16), of_cluster("7", 2, 16),
               of_cluster("7", 1, 17)}  # fmt: skip
    assert len(numbers) == 4
    assert all(0 < number < 2**48 for number in numbers)
