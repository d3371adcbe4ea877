"""A new key waits for those who follow the revocations and say that they have not got it."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlmodel import select

from identity.clock import Frozen
from identity.keys import rotation, transitions, uptake
from identity.keys.followers import AGAIN, MOST, OF_A_CLIENT, STILL_HERE, Followers
from identity.keys.master import MasterKey
from identity.keys.material import prepare
from identity.keys.ring import KeyRing
from identity.keys.table import KeyFollower, SigningKey
from identity.keys.uptake import Uptake
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed

Keys = Callable[[], dict[str, str]]
pytestmark = pytest.mark.anyio


class Hand:
    """A clock that nobody sets."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Fleet:
    """One database with an active and a next key whose time has come, and processes at it."""

    def __init__(self, db: Database, settings: Settings, master_key: MasterKey) -> None:
        self.db, self.settings, self._master_key = db, settings, master_key
        self.feed = ChangeFeed(db, settings)
        self.ring = KeyRing(db, self.feed, master_key)
        self.hand = Hand()
        with db.transaction() as session:
            rotation.ensure(session, settings, {"": prepare("ES256", master_key)})
            self.first = transitions.find(session, "active").kid  # type: ignore[union-attr]
            self.second = rotation.rotate(session, settings, prepare("ES256", master_key)).kid
        self.both = f"{self.first} {self.second}".encode()

    async def process(self) -> Followers:
        await self.feed.catch_up()
        await self.ring.refresh()
        return Followers(self.db, self.ring, self.hand)

    def tend(self) -> bool:
        with self.db.transaction() as session:
            return rotation.tend(session, self.settings, None)

    def uptake(self) -> Uptake:
        with self.db.transaction() as session:
            return uptake.uptake(session, self.second)

    def rows(self) -> dict[str, KeyFollower]:
        with self.db.transaction() as session:
            return {row.id: row for row in session.exec(select(KeyFollower))}

    def later(self, seconds: float) -> None:
        self.hand.at += seconds
        self.age(seconds)

    def age(self, seconds: float) -> None:
        """All were seen so much longer ago."""
        with self.db.transaction() as session:
            for row in session.exec(select(KeyFollower)).all():
                at: datetime = row.seen_at - timedelta(seconds=seconds)
                told = row.told_at - timedelta(seconds=seconds)
                session.execute(
                    update(KeyFollower)
                    .where(KeyFollower.id == row.id)  # type: ignore[arg-type]
                    .values(seen_at=at, told_at=told)
                )


@pytest.fixture
async def fleet(
    db: Database, settings: Settings, master_key: MasterKey, clock: Frozen
) -> AsyncIterator[Fleet]:
    """The key set's max-age has passed."""
    fleet = Fleet(db, settings, master_key)
    clock.tick(timedelta(minutes=7))
    yield fleet
    await fleet.feed.close()


async def test_without_followers_a_key_signs_at_the_stated_time(fleet: Fleet, keys: Keys) -> None:
    assert fleet.tend() is True
    assert keys() == {fleet.first: "retired", fleet.second: "active"}


async def test_a_key_waits_for_a_follower_until_it_has_it(fleet: Fleet, keys: Keys) -> None:
    one, other = await fleet.process(), await fleet.process()
    one.heard("orders", b"host-1", fleet.both)
    other.heard("orders", b"host-2", fleet.first.encode())
    await one.write()
    await other.write()
    assert other.missing == 1
    assert fleet.tend() is False
    uptake = fleet.uptake()
    assert (uptake.followers, uptake.silent, uptake.missing) == (2, 0, 1)
    assert [(each.client_id, each.name) for each in uptake.who] == [("orders", "host-2")]

    # It says so at whichever process, and its stream at the other knows nothing of that.
    following = other.heard("orders", b"host-2", fleet.first.encode())
    following.streams = 1
    fleet.later(1)
    one.heard("orders", b"host-2", fleet.both)
    await one.write()
    fleet.later(STILL_HERE)
    await other.write()
    assert fleet.uptake().missing == 0
    assert fleet.tend() is True
    assert keys()[fleet.second] == "active"
    await other.write()
    assert other.missing == 0


async def test_nobody_waits_longer_than_an_hour_for_who_has_vanished(
    fleet: Fleet, keys: Keys
) -> None:
    process = await fleet.process()
    process.heard("orders", b"host-1", fleet.first.encode())
    await process.write()
    fleet.age(3590)
    assert fleet.tend() is False
    fleet.age(11)
    assert fleet.tend() is True


async def test_who_does_not_say_counts_by_the_stated_time(fleet: Fleet) -> None:
    process = await fleet.process()
    process.heard("orders", None, None)
    process.heard("orders", b"host-1", None)
    process.heard("orders", b"no name!", fleet.first.encode())
    process.heard("orders", b"host-2", b"x" * 5000)
    await process.write()
    rows = fleet.rows()
    assert {(each, row.kids) for each, row in rows.items()} == {("@orders", None)}
    assert (fleet.uptake().followers, fleet.uptake().silent) == (1, 1)
    assert fleet.tend() is True


async def test_an_operator_need_not_wait(
    fleet: Fleet, settings: Settings, master_key: MasterKey, keys: Keys
) -> None:
    process = await fleet.process()
    process.heard("orders", b"host-1", b"")
    await process.write()
    assert fleet.tend() is False
    with fleet.db.transaction() as session:
        rotation.rotate(session, settings, prepare("ES256", master_key), now=True)
    assert keys()[fleet.second] == "active"


async def test_what_is_said_of_other_keys_is_not_kept(fleet: Fleet) -> None:
    process = await fleet.process()
    said = b"ada@example.com " + fleet.both + b" \xff\xfe ' OR 1=1 -- %"
    process.heard("orders", b"host-1", said)
    await process.write()
    assert fleet.rows()["host-1@orders"].kids == " ".join(sorted([fleet.first, fleet.second]))


async def test_one_client_says_nothing_for_another(fleet: Fleet) -> None:
    process = await fleet.process()
    process.heard("orders", b"host-1", fleet.first.encode())
    process.heard("evil", b"host-1", fleet.both)
    await process.write()
    assert [each.client_id for each in fleet.uptake().who] == ["orders"]


async def test_of_one_follower_one_row_is_written_a_minute_at_the_most(fleet: Fleet) -> None:
    process = await fleet.process()
    written: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO key_follower"):
            written.append(statement)

    event.listen(fleet.db.engine, "before_cursor_execute", note)
    for turn in range(24):
        process.heard("orders", b"host-1", fleet.both if turn % 2 else fleet.first.encode())
        await process.write()
        fleet.hand.at += AGAIN / 12
    assert len(written) == 2
    written.clear()
    steady = await fleet.process()
    for _ in range(20):
        steady.heard("orders", b"host-2", fleet.both)
        await steady.write()
        fleet.hand.at += STILL_HERE / 10
    assert len(written) == 2


async def test_ten_thousand_followers_are_some_statements(fleet: Fleet) -> None:
    process = await fleet.process()
    statements = 0

    def note(*_: Any) -> None:
        nonlocal statements
        statements += 1

    for number in range(10_000):
        process.heard("orders", f"host-{number}".encode(), fleet.both).streams = 1
    event.listen(fleet.db.engine, "before_cursor_execute", note)
    await process.write()
    assert statements < 10_000 / 200 * 6
    assert fleet.uptake().followers == 10_000
    assert fleet.tend() is True
    statements = 0
    await process.write()
    assert statements < 10


async def test_a_client_of_a_million_names_takes_no_more_memory_than_others(fleet: Fleet) -> None:
    process = await fleet.process()
    for number in range(MOST + 100):
        process.heard("evil", f"host-{number}".encode(), fleet.first.encode())
    assert len(process) == OF_A_CLIENT + 1
    fleet.hand.at += 3601
    process.heard("orders", b"host", fleet.both)
    for follower in process._known.values():
        follower.written = fleet.hand.at
    await process.write()
    assert len(process) == 1


async def test_by_names_that_it_makes_up_a_client_silences_no_other(fleet: Fleet) -> None:
    process = await fleet.process()
    for number in range(MOST):
        made_up = process.heard("evil", f"host-{number}".encode(), fleet.both)
        made_up.changed, made_up.written = False, fleet.hand.at
    process.heard("orders", b"host-1", fleet.first.encode())
    await process.write()
    assert [follower.client_id for follower in fleet.uptake().who] == ["orders"]
    assert not fleet.tend()


async def test_a_stream_is_seen_as_long_as_it_goes_on(fleet: Fleet) -> None:
    process = await fleet.process()
    follower = process.heard("orders", b"host-1", fleet.first.encode())
    follower.streams += 1
    await process.write()
    for _ in range(3):
        fleet.later(1800)
        await process.write()
    assert fleet.uptake().missing == 1
    process.left(follower)
    for _ in range(3):
        fleet.later(1800)
        await process.write()
    assert len(process) == 0
    assert fleet.tend() is True


@pytest.mark.parametrize("dialect", ["sqlite"])  # whose clock is this process's, and can be set
@pytest.mark.parametrize("hours", [3, -3])
async def test_a_clock_that_is_set_makes_no_follower_vanish(
    fleet: Fleet, clock: Frozen, hours: int
) -> None:
    process = await fleet.process()
    follower = process.heard("orders", b"host-1", fleet.first.encode())
    follower.streams = 1
    await process.write()
    clock.tick(timedelta(hours=hours))
    fleet.hand.at += 5
    await process.write()
    assert fleet.uptake().missing == 1
    assert fleet.tend() is False
    fleet.hand.at += AGAIN
    process.heard("orders", b"host-1", fleet.both)
    await process.write()
    assert fleet.uptake().missing == 0


async def test_rows_of_who_is_gone_are_forgotten(fleet: Fleet) -> None:
    process = await fleet.process()
    process.heard("orders", b"host-1", fleet.both)
    await process.write()
    with fleet.db.transaction() as session:
        assert uptake.prune(session) == 0
    fleet.age(86_401)
    with fleet.db.transaction() as session:
        assert uptake.prune(session) == 1
    assert fleet.rows() == {}


async def test_what_could_not_be_written_is_written_later(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await fleet.process()
    process.heard("orders", b"host-1", fleet.both)

    async def fails(_: Any) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(fleet.db, "write", fails)
        with pytest.raises(OSError, match="cut off"):
            await process.write()
    await process.write()
    assert list(fleet.rows()) == ["host-1@orders"]


async def test_a_key_whose_time_has_not_come_waits_whatever_is_said(
    fleet: Fleet, clock: Frozen
) -> None:
    clock.tick(-timedelta(minutes=2))
    process = await fleet.process()
    process.heard("orders", b"host-1", fleet.both)
    await process.write()
    assert process.missing == 0
    assert fleet.tend() is False
    with fleet.db.transaction() as session:
        assert session.get_one(SigningKey, fleet.second).state == "next"
