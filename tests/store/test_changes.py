"""The change feed: what it hears, in which order, and whom one question answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmodel import func, select

from identity.clock import frozen
from identity.errors import Unavailable
from identity.store import Database, changes, deadlines
from identity.store.changes import KEPT, ChangeFeed
from identity.store.histories import Histories
from identity.store.positions import PAGE, Position, Row, Tell
from identity.store.table import Change
from identity.store.turns import Turns

Heard = list[tuple[str, str, str]]


def listening(feed: ChangeFeed, *nouns: str) -> Heard:
    """What the feed tells of `nouns` from now on: (noun, verb, ref)."""
    heard: Heard = []
    for noun in nouns:
        feed.listen(noun, partial(lambda noun, verb, ref: heard.append((noun, verb, ref)), noun))
    return heard


@pytest.fixture
async def feed(db: Database, settings: Any) -> AsyncIterator[ChangeFeed]:
    """A feed that has looked once, so that it hears what happens from now on."""
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    yield feed
    await feed.close()


def change(db: Database, *changed: tuple[str, str]) -> None:
    """One transaction, as another process would make it."""
    with db.transaction() as session:
        for kind, ref in changed:
            changes.record(session, kind, ref)


# --- What is heard, on both databases -------------------------------------------------------


async def test_the_first_look_forgets_what_was_remembered_before_it(
    db: Database, settings: Any
) -> None:
    change(db, ("user.changed", "before"))
    feed = ChangeFeed(db, settings)
    heard = listening(feed, "user", "key")
    await feed.catch_up()
    assert heard == [("user", "reset", "*"), ("key", "reset", "*")]
    await feed.catch_up()
    assert len(heard) == 2
    await feed.close()


async def test_changes_are_heard_once_in_the_order_of_their_commits(
    db: Database, feed: ChangeFeed
) -> None:
    heard = listening(feed, "session", "user")
    again = listening(feed, "user")
    change(db, ("user.changed", "ada"), ("session.ended", "s1"), ("role.changed", "unheard"))
    change(db, ("user.deleted", "ada"))
    await feed.catch_up()
    await feed.catch_up()
    assert heard == [
        ("user", "changed", "ada"), ("session", "ended", "s1"), ("user", "deleted", "ada"),
    ]  # fmt: skip
    assert again == [("user", "changed", "ada"), ("user", "deleted", "ada")]


async def test_the_same_change_recorded_twice_in_a_transaction_is_one(
    db: Database, feed: ChangeFeed
) -> None:
    heard = listening(feed, "user")
    change(db, ("user.changed", "ada"), ("user.changed", "ada"))
    await feed.catch_up()
    assert heard == [("user", "changed", "ada")]


async def test_what_is_rolled_back_is_not_heard(db: Database, feed: ChangeFeed) -> None:
    heard = listening(feed, "user")

    def fail(session: Any) -> None:
        changes.record(session, "user.changed", "ada")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await db.write(fail)
    await feed.catch_up()
    assert heard == []


async def test_more_than_a_page_of_changes_is_heard_whole(db: Database, feed: ChangeFeed) -> None:
    count = 2 * PAGE + 500
    heard = listening(feed, "token")
    change(db, *(("token.revoked", str(n)) for n in range(count)))
    await feed.catch_up()
    assert [ref for _, _, ref in heard] == [str(n) for n in range(count)]


async def test_pruning_keeps_what_is_young_and_always_the_newest_row(
    db: Database, feed: ChangeFeed
) -> None:
    with frozen() as clock:
        for ref in ("old", "newest"):
            change(db, ("user.changed", ref))
        await feed.catch_up()
        clock.tick(KEPT + timedelta(seconds=1))
        heard = listening(feed, "user")
        await db.write(changes.prune)
        with db.transaction() as session:
            assert session.exec(select(Change.ref)).all() == ["newest"]
        await feed.catch_up()
        assert heard == []  # it had seen the newest row, and that is still there
        change(db, ("user.changed", "next"))
        await feed.catch_up()
    assert heard == [("user", "changed", "next")]


async def test_a_feed_whose_last_row_was_pruned_forgets_everything(
    db: Database, feed: ChangeFeed
) -> None:
    heard = listening(feed, "user", "session")
    with frozen() as clock:
        for ref in ("unseen", "newest"):
            change(db, ("user.changed", ref))
        clock.tick(KEPT + timedelta(seconds=1))
        await db.write(changes.prune)
        await feed.catch_up()
        assert heard == [("user", "reset", "*"), ("session", "reset", "*")]
        change(db, ("user.changed", "next"))
        await feed.catch_up()
    assert heard[2:] == [("user", "changed", "next")]


async def test_a_feed_ahead_of_a_restored_database_forgets_everything(
    db: Database, feed: ChangeFeed
) -> None:
    change(db, *(("user.changed", str(n)) for n in range(5)))
    await feed.catch_up()
    with db.transaction() as session:  # as if an older backup had taken the database's place
        for row in session.exec(select(Change).where(Change.ref > "1")):
            session.delete(row)
    heard = listening(feed, "user")
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]
    with db.transaction() as session:
        assert feed.position is not None
        assert feed.position.newest.id == session.exec(select(func.max(Change.id))).one()


async def test_another_row_with_the_same_id_is_another_history(
    db: Database, feed: ChangeFeed
) -> None:
    """A backup restored in place, or a failover that lost commits, fills the same ids again."""
    change(db, ("user.changed", "lost"))
    await feed.catch_up()
    heard = listening(feed, "user")
    with db.transaction() as session:
        lost = session.exec(select(Change).where(Change.ref == "lost")).one()
        number = lost.id
        session.delete(lost)
        session.flush()
        session.add(Change(id=number, kind="user.changed", ref="other", at=lost.at))
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]
    change(db, ("user.changed", "next"))
    await feed.catch_up()
    assert heard[1:] == [("user", "changed", "next")]


async def test_every_row_has_a_number_of_its_own_whoever_wrote_it(db: Database) -> None:
    with db.transaction() as session:
        written = "INSERT INTO change (kind, ref, at) VALUES ('user.changed', 'old', '2026-01-01')"
        for _ in range(50):
            session.connection().exec_driver_sql(written)  # as the version before does it
    with db.transaction() as session:
        drawn = session.exec(select(Change.nonce)).all()
    assert len(set(drawn)) == len(drawn) >= 50
    assert all(number is not None and 0 <= number < 2**62 for number in drawn)


async def test_a_database_without_any_change_is_served(db: Database, feed: ChangeFeed) -> None:
    with db.transaction() as session:
        for row in session.exec(select(Change)):
            session.delete(row)
    await feed.catch_up()
    heard = listening(feed, "user")
    change(db, ("user.changed", "first"))
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]
    change(db, ("user.changed", "second"))
    await feed.catch_up()
    assert heard[1:] == [("user", "changed", "second")]


# --- One question for many (PostgreSQL's way, with a source that answers when told to) ------


class SlowSource:
    """Answers each query as of the moment it was sent, and not before `answer()`."""

    steady = True

    def __init__(self) -> None:
        self.rows = [Row(1, 1, 1, "feed.started", "*", "")]
        self.sent = 0
        self.failing: Exception | None = None
        self._under_way: list[asyncio.Future[None]] = []

    def commit(self, kind: str, ref: str) -> None:
        number = self.rows[-1].id + 1
        self.rows.append(Row(number, number, number, kind, ref, ""))

    async def begin(self) -> Position:
        return Position(0, self.rows[-1].mark)

    async def follow(self, position: Position, tell: Tell) -> Position | None:
        self.sent += 1
        seen = [row for row in self.rows if row.mark > position.newest]
        gate = asyncio.get_running_loop().create_future()
        self._under_way.append(gate)
        await gate
        if self.failing:
            raise self.failing
        tell(seen)
        return Position(0, max([position.newest, *(row.mark for row in seen)]))

    async def close(self) -> None:
        pass

    async def answer(self) -> None:
        """Deliver the answer under way, and let all run that can."""
        await settle()
        self._under_way.pop().set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def source() -> SlowSource:
    return SlowSource()


@pytest.fixture
async def shared(source: SlowSource, settings: Any) -> AsyncIterator[ChangeFeed]:
    """A feed that has looked once, on `source`."""
    histories = Histories()
    database: Any = SimpleNamespace(
        dialect="postgresql", histories=histories, turns=Turns(histories)
    )
    feed = ChangeFeed(database, settings)
    feed._source = source
    await feed.catch_up()
    yield feed
    await feed.close()


one_dialect = pytest.mark.parametrize("dialect", ["sqlite"])


@one_dialect
async def test_a_request_is_never_answered_by_a_query_sent_before_it_came(
    shared: ChangeFeed, source: SlowSource
) -> None:
    heard = listening(shared, "token")
    early = asyncio.create_task(shared.catch_up())
    await settle()
    source.commit("token.revoked", "t")  # the query under way has not seen it
    late = asyncio.create_task(shared.catch_up())
    await source.answer()
    assert early.done()
    assert not late.done()
    assert heard == []
    await source.answer()  # sees the row
    assert heard == [("token", "revoked", "t")]
    await late


@one_dialect
async def test_many_requests_share_one_query(shared: ChangeFeed, source: SlowSource) -> None:
    first = asyncio.create_task(shared.catch_up())
    await settle()
    waiting = [asyncio.create_task(shared.catch_up()) for _ in range(100)]
    await source.answer()
    await source.answer()
    assert source.sent == 2
    assert all(task.done() and not task.exception() for task in (first, *waiting))


@one_dialect
@pytest.mark.parametrize("error", [Unavailable(7, audit="gone"), ZeroDivisionError("a defect")])
async def test_a_failed_look_fails_all_who_wait_and_nobody_after(
    shared: ChangeFeed, source: SlowSource, error: Exception
) -> None:
    source.failing = error
    waiting = [asyncio.create_task(shared.catch_up()) for _ in range(5)]
    await source.answer()
    failures = {type(task.exception()) for task in waiting}
    assert failures == {Unavailable if isinstance(error, Unavailable) else RuntimeError}
    if isinstance(error, Unavailable):
        assert {task.exception().retry_after for task in waiting} == {7}  # type: ignore[union-attr]
    source.failing = None
    source.commit("token.revoked", "meanwhile")
    heard = listening(shared, "token")
    after = asyncio.create_task(shared.catch_up())
    await source.answer()
    await after
    assert heard == [("token", "revoked", "meanwhile")]


@one_dialect
async def test_whoever_came_while_a_look_was_failing_does_not_wait_for_another(
    shared: ChangeFeed, source: SlowSource
) -> None:
    """Where packets are lost, the first may take seconds to fail, and so may the next."""
    source.failing = Unavailable(audit="no route to host")
    first = asyncio.create_task(shared.catch_up())
    await settle()
    late = asyncio.create_task(shared.catch_up())
    await source.answer()
    assert source.sent == 1
    assert isinstance(first.exception(), Unavailable)
    assert isinstance(late.exception(), Unavailable)


@one_dialect
async def test_a_look_has_as_long_as_the_first_who_waits_for_it(
    shared: ChangeFeed, source: SlowSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def left_since(came: float) -> float:
        asked.append(came)
        return deadlines.left_since(came)

    monkeypatch.setattr(changes, "left_since", left_since)
    first = asyncio.create_task(shared.catch_up())
    await settle()
    before = time.monotonic()
    second = asyncio.create_task(shared.catch_up())
    await settle()
    after = time.monotonic()
    third = asyncio.create_task(shared.catch_up())
    await source.answer()
    await source.answer()
    await asyncio.gather(first, second, third)
    assert before <= asked[1] <= after


@pytest.mark.deadlines
def test_who_has_waited_long_still_gets_a_moment() -> None:
    now = time.monotonic()
    assert deadlines.left_since(now - 60) == deadlines.LEAST
    assert deadlines.LEAST < deadlines.left_since(now) <= deadlines.BUDGET


@pytest.mark.deadlines
async def test_who_has_waited_for_hashing_gets_a_moment_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadlines.arrived()
    deadlines.resumed()
    assert deadlines.RESUMED < deadlines.left() <= deadlines.BUDGET
    monkeypatch.setattr(deadlines, "BUDGET", -60.0)
    deadlines.arrived()
    assert deadlines.left() == deadlines.LEAST
    deadlines.resumed()
    assert deadlines.LEAST < deadlines.left() <= deadlines.RESUMED


@one_dialect
async def test_a_look_that_is_not_answered_in_time_is_unavailable(
    shared: ChangeFeed, source: SlowSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "BUDGET", 0.0)
    monkeypatch.setattr(deadlines, "LEAST", 0.0)
    with pytest.raises(Unavailable):
        await shared.catch_up()
    monkeypatch.undo()
    after = asyncio.create_task(shared.catch_up())
    await source.answer()
    await after


@one_dialect
async def test_whoever_stops_waiting_harms_nobody_else(
    shared: ChangeFeed, source: SlowSource
) -> None:
    gone, waiting, also_gone = (asyncio.create_task(shared.catch_up()) for _ in range(3))
    await settle()
    gone.cancel()
    await settle()
    late = asyncio.create_task(shared.catch_up())
    also_gone.cancel()
    await source.answer()
    assert waiting.done()
    assert not late.done()
    await source.answer()
    await late
    assert gone.cancelled()
    assert also_gone.cancelled()


@one_dialect
async def test_the_feed_goes_on_after_everybody_has_stopped_waiting(
    shared: ChangeFeed, source: SlowSource
) -> None:
    waiting = [asyncio.create_task(shared.catch_up()) for _ in range(3)]
    await settle()
    for task in waiting:
        task.cancel()
    await source.answer()
    source.commit("token.revoked", "t")
    heard = listening(shared, "token")
    after = asyncio.create_task(shared.catch_up())
    await source.answer()
    await after
    assert heard == [("token", "revoked", "t")]
