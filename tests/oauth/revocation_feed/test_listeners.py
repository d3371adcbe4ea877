"""One follower at a time, in this process: who is slow, who may no longer, who has gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlmodel import col, update

from identity.oauth.revocation_feed.listening import BACKLOG, Listener
from identity.opaque import new_id
from identity.store import changes
from identity.store.table import Change
from tests.world import World, bearer

pytestmark = pytest.mark.anyio


@dataclass
class Stream:
    """A GET /revocations by raw ASGI. `stuck`: its reader reads no more."""

    task: asyncio.Task[None]
    gone: asyncio.Event
    pieces: list[bytes] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stuck: bool = False
    complete: bool = False

    async def until(self, words: bytes) -> None:
        async with asyncio.timeout(5):
            while words not in b"".join(self.pieces):  # noqa: ASYNC110 - as a client would
                await asyncio.sleep(0.01)


@asynccontextmanager
async def following(world: World, headers: dict[str, str]) -> AsyncIterator[Stream]:
    gone = asyncio.Event()
    sent: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            stream.started.set()
            return
        if stream.stuck:
            await asyncio.Event().wait()
        stream.pieces.append(message["body"])
        stream.complete = not message.get("more_body", False)

    named = {"accept": "text/event-stream"} | headers
    scope = {
        "type": "http", "method": "GET", "path": "/revocations", "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()], "state": {},
        "client": ("10.0.0.9", 1), "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    stream = Stream(asyncio.create_task(world.app(scope, receive, send)), gone)
    try:
        await stream.until(b"event: live")
        yield stream
    finally:
        gone.set()
        await asyncio.wait([stream.task], timeout=5)
        assert stream.task.done()


def change(world: World, kind: str, ref: str) -> None:
    with world.change() as session:
        changes.record(session, kind, ref)


def streams(world: World) -> bool:
    return "identity_revocation_streams 1.0" in world.services.metrics.render().decode()


async def test_who_does_not_read_is_cut_off_and_the_others_are_not(world: World) -> None:
    sibling = world.client("sibling", scopes=["introspect"])
    async with following(world, sibling.basic) as slow, following(world, sibling.basic) as quick:
        slow.stuck = True
        for n in range(BACKLOG + 10):
            change(world, "session.ended", f"session {n}")
            await quick.until(b'"session %d"' % n)
            if slow.task.done():
                break
        assert slow.task.cancelled()
        assert not slow.complete
        assert streams(world)


async def test_who_leaves_is_forgotten(world: World) -> None:
    sibling = world.client("sibling", scopes=["introspect"])
    async with following(world, sibling.basic):
        assert streams(world)
    assert not streams(world)


async def test_a_stream_that_lasts_is_no_slow_answer(world: World) -> None:
    sibling = world.client("sibling", scopes=["introspect"])
    async with following(world, sibling.basic) as stream:
        await asyncio.sleep(0.6)
        assert not stream.complete
    name = 'identity_request_duration_seconds_bucket{le="0.5",route="/revocations"} 1.0'
    assert name in world.services.metrics.render().decode()


async def test_a_client_that_changes_must_come_again(world: World) -> None:
    """Its secret may have been taken, or the scope."""
    sibling, other = (world.client(name, scopes=["introspect"]) for name in ("sibling", "other"))
    async with following(world, sibling.basic) as ended, following(world, other.basic) as stays:
        world.change_client("sibling", scopes=[])
        await asyncio.wait([ended.task], timeout=5)
        assert ended.complete
        change(world, "session.ended", "a session")
        await stays.until(b"a session")
    answer = await world.api.get("/revocations", headers=sibling.basic)
    assert answer.status_code == 403


async def test_a_stream_ends_with_the_token_that_opened_it(world: World, settings: Any) -> None:
    job = world.client("job", scopes=["introspect"])
    token = (await world.act(job, scope="introspect"))["access_token"]
    world.services.live.gate.check(token)
    async with following(world, bearer(token)) as stream:
        loop = asyncio.get_running_loop()
        due = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        ttl = settings.tokens.access_token_ttl.total_seconds()
        ends = [handle for handle in due if ttl - 60 < handle.when() - loop.time() <= ttl]
        assert ends, "nothing is set to end it"
        ends[0]._run()
        await asyncio.wait([stream.task], timeout=5)
        assert stream.complete


async def test_lost_history_is_told_and_all_is_told_again(world: World) -> None:
    sibling = world.client("sibling", scopes=["introspect"])
    ref = new_id()
    async with following(world, sibling.basic) as stream:
        change(world, "session.ended", ref)
        await stream.until(ref.encode())
        stream.pieces.clear()
        with world.change() as session:  # as a backup in its place: the same ids, other rows
            session.execute(update(Change).values(nonce=col(Change.nonce) / 2 + 1))
        await stream.until(b"event: live")
        told = b"".join(stream.pieces)
        assert told.index(b"event: reset") < told.index(b"event: snapshot") < told.index(b"live")
        assert ref.encode() in told


async def test_a_connection_lost_is_no_history_lost(world: World) -> None:
    """The process forgets; who follows goes on, as if it had come back to another process."""
    sibling = world.client("sibling", scopes=["introspect"])
    async with following(world, sibling.basic) as stream:
        stream.pieces.clear()
        world.services.feed._reset()
        ref = new_id()
        change(world, "session.ended", ref)
        await stream.until(ref.encode())
        assert b"event: reset" not in b"".join(stream.pieces)


async def test_a_listener_hands_over_what_has_piled_up_in_bounded_pieces() -> None:
    listener = Listener("sibling", [b"a" * 20_000, b"b" * 20_000, b"c" * 10])
    assert await listener.next() == b"a" * 20_000 + b"b" * 20_000
    listener.tell(b"d")
    assert await listener.next() == b"c" * 10 + b"d"
    listener.close()
    assert await listener.next() is None
