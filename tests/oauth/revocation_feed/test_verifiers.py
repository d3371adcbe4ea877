"""The verifier's own reader on what is really told: whatever commits late, is cut off or belongs to
another history, it knows all of it and goes on from a position that misses nothing."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlmodel import col, update

from identity.opaque import new_id
from identity.store import changes
from identity.store.table import Change
from identity.verifier.clocks import SystemClock
from identity.verifier.revocations.feed import Feed
from identity.verifier.revocations.sse import Event, Parser
from identity.verifier.revocations.subscriber import Subscriber
from tests.oauth.revocation_feed.test_listeners import Stream, change, following
from tests.world import World

pytestmark = pytest.mark.anyio


class Reader:
    """A subscriber that is given the bytes instead of fetching them."""

    def __init__(self) -> None:
        clock: Any = SystemClock()
        self.feed = Feed(clock, 5.0)
        issuer: Any = SimpleNamespace(clock=clock)
        self._subscriber = Subscriber(issuer, self.feed)
        self._parser = Parser()

    def connect(self) -> None:
        self._subscriber._live = False
        self._parser = Parser()
        self.feed.connected()

    def events(self, stream: Stream) -> list[Event]:
        octets = b"".join(stream.pieces)
        stream.pieces.clear()
        return self._parser.feed(octets)

    def read(self, events: list[Event]) -> None:
        for event in events:
            self._subscriber._take(event, self.feed.clock.monotonic())

    def knows(self, session: str) -> bool:
        return session in self.feed.denylist._sessions

    @property
    def resume(self) -> dict[str, str]:
        return {"last-event-id": str(self.feed.position)}


async def test_a_cut_among_the_events_of_one_look_loses_nothing(world: World) -> None:
    sibling, reader = world.client("sibling", scopes=["introspect"]), Reader()
    refs = [new_id() for _ in range(3)]
    async with following(world, sibling.basic) as stream:
        reader.read(reader.events(stream))
        before = reader.feed.position
        with world.change() as session:
            for ref in refs:
                changes.record(session, "session.ended", ref)
        await stream.until(refs[-1].encode())
        told = [event for event in reader.events(stream) if event.name == "revoked"]
        reader.read(told[:2])
        assert reader.feed.position == before
    reader.connect()
    async with following(world, sibling.basic | reader.resume) as stream:
        reader.read(reader.events(stream))
    assert all(map(reader.knows, refs))
    assert before is not None and reader.feed.position is not None
    assert reader.feed.position > before


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_what_is_committed_late_is_told_and_hidden_from_nobody_who_resumes(
    world: World, database_url: str
) -> None:
    sibling, reader = world.client("sibling", scopes=["introspect"]), Reader()
    late, quick = new_id(), new_id()
    insert = "INSERT INTO change (kind, ref, at) VALUES ('session.ended', %s, now())"
    with psycopg.connect(database_url) as slow:
        slow.execute(insert, [late])
        async with following(world, sibling.basic) as stream:
            change(world, "session.ended", quick)
            await stream.until(quick.encode())
            reader.read(reader.events(stream))
        reader.connect()
        slow.commit()
    async with following(world, sibling.basic | reader.resume) as stream:
        events = reader.events(stream)
        assert "reset" not in {event.name for event in events}
        reader.read(events)
        assert reader.knows(late)
        assert reader.knows(quick)
        with psycopg.connect(database_url) as slow:
            later = new_id()
            slow.execute(insert, [later])
            change(world, "session.ended", new_id())
            await stream.until(b"event: heartbeat")
            slow.commit()
            await stream.until(later.encode())


async def test_another_history_is_followed_wherever_its_positions_are(world: World) -> None:
    sibling, reader = world.client("sibling", scopes=["introspect"]), Reader()
    kept, new = new_id(), new_id()
    async with following(world, sibling.basic) as stream:
        change(world, "session.ended", kept)
        await stream.until(kept.encode())
        reader.read(reader.events(stream))
        with world.change() as session:  # a failover that lost rows has filled their ids again
            session.execute(update(Change).values(nonce=col(Change.nonce) / 2 + 1))
        await stream.until(b"event: live")
        events = reader.events(stream)
        reader.read(events)
        (live,) = [event for event in events if event.name == "live"]
        assert reader.feed.position == int(live.id or "")
        change(world, "session.ended", new)
        await stream.until(new.encode())
        reader.read(reader.events(stream))
        assert reader.knows(kept)
        assert reader.knows(new)
        assert reader.feed.position > int(live.id or "")


async def test_a_position_of_the_version_before_begins_anew(world: World) -> None:
    """It was the id of a change."""
    sibling, reader = world.client("sibling", scopes=["introspect"]), Reader()
    async with following(world, sibling.basic | {"last-event-id": "17"}) as stream:
        events = reader.events(stream)
        assert [event.name for event in events[:3]] == ["reset", "snapshot", "live"]
