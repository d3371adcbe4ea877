"""Nothing is lost on the way of a revocation, and the verifier knows how old its knowledge is."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.verifier import Revoked, StaleKnowledge, Verifier
from identity.verifier.revocations import subscriber
from identity.verifier.revocations.denylist import Subject, Verdict
from identity.verifier.revocations.feed import Feed
from identity.verifier.testing import Issuer, MovableClock
from identity.verifier.testing.issuer import CLIENT
from tests.verifier.faulty import Faulty, turns, until

PATH = "/revocations"


def an_issuer() -> Issuer:
    """Whose verifiers learn by the stream alone."""
    return Issuer(prompt=False)


def a_verifier(issuer: Issuer, transport: httpx.AsyncBaseTransport, **options: object) -> Verifier:
    return issuer.verifier(transport=transport, on_stale="refuse", **options)


def feed_of(verifier: Verifier) -> Feed:
    assert isinstance(verifier.source, Feed)
    return verifier.source


async def accepted(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except Revoked:
        return False
    return True


# A stream's beginning is some 200 octets, an entry 150.
CUTS = st.lists(st.integers(0, 700), max_size=12)
PIECES = st.lists(st.integers(1, 90), max_size=60)
ACTS = st.lists(
    st.sampled_from(["revoke", "revoke", "tick", "turn", "mint", "forget"]), min_size=4, max_size=40
)


@settings(max_examples=60)
@given(CUTS, PIECES, ACTS)
async def test_whatever_is_cut_nothing_is_lost(
    cuts: list[int], pieces: list[int], acts: list[str]
) -> None:
    issuer = an_issuer()
    tokens = [issuer.token() for _ in range(8)]
    revoked: set[str] = set()
    verifier = a_verifier(issuer, Faulty(issuer, cuts, pieces))
    starting = asyncio.create_task(verifier.start())
    try:
        for number, act in enumerate(acts):
            if act == "revoke":
                token = tokens[number % len(tokens)]
                issuer.revoke(token)
                revoked.add(token)
            elif act == "mint":
                tokens.append(issuer.token())
            elif act == "forget":  # the issuer no longer knows where the verifier was
                issuer.ledger.lost = issuer.ledger.position
            elif act == "tick":
                issuer.clock.tick(1.1)
            await turns(40)
        last = issuer.clock.monotonic()
        for _ in range(200):  # the cuts end, and then it must come together
            issuer.clock.tick(1.1)
            await turns(20)
            # What it says it knows of a moment after the last act has that act in it.
            if starting.done() and issuer.clock.monotonic() - verifier.staleness > last:
                break
        assert {token for token in tokens if not await accepted(verifier, token)} == revoked
    finally:
        starting.cancel()
        await verifier.close()


async def test_thousands_of_revocations_come_in_one_snapshot_and_then_one_by_one() -> None:
    issuer = an_issuer()
    tokens = [issuer.token(listed=False) for _ in range(300)]
    for number in range(3_000):
        issuer.ledger.add("token", f"jti-{number}")
    for token in tokens[:100]:
        issuer.revoke(token)
    async with a_verifier(issuer, issuer.transport) as verifier:
        assert len(verifier.source.denylist) == 3_100
        for token in tokens[100:200]:
            issuer.revoke(token)
        await until(lambda: len(verifier.source.denylist) == 3_200)
        assert [await accepted(verifier, token) for token in tokens] == [False] * 200 + [True] * 100
        assert issuer.transport.requests[PATH] == 1


async def test_a_cut_stream_goes_on_where_it_was() -> None:
    issuer = an_issuer()
    transport = Faulty(issuer, cuts=[800])
    issuer.ledger.add("token", "old")
    async with a_verifier(issuer, transport) as verifier:
        for _ in range(6):
            issuer.ledger.add("token", f"new-{issuer.ledger.position}")
        issuer.transport.wake()
        await turns()
        issuer.clock.tick(1.0)  # the pause before it connects again
        await until(lambda: transport.streams == 2 and len(verifier.source.denylist) == 7)
        assert feed_of(verifier).position == issuer.ledger.position


async def test_old_knowledge_stays_in_force_until_the_new_is_whole() -> None:
    feed = Feed(MovableClock(), 5.0)
    issuer = an_issuer()
    dead, alive = issuer.token(), issuer.token()
    issuer.revoke(dead)
    async with a_verifier(issuer, issuer.transport) as verifier:
        subjects = []
        for token in (dead, alive):
            known = verifier._checking.known.get(token) or verifier._checking.meet(token)
            assert known is not None
            subjects.append(Subject(known.claims))
    entry = issuer.ledger.entries[0]
    feed.snapshot([entry])
    assert feed.judge(subjects[0], 0.0) is Verdict.DEAD
    assert feed.judge(subjects[1], 0.0) is Verdict.STALE
    feed.live(1, 0.0)
    feed.reset()
    assert feed.judge(subjects[0], 0.0) is Verdict.DEAD
    feed.snapshot([])
    feed.connected()  # cut before it was whole
    assert feed.judge(subjects[0], 0.0) is Verdict.DEAD
    feed.snapshot([])
    feed.live(9, 0.0)
    assert feed.judge(subjects[0], 0.0) is Verdict.ALIVE


async def test_silence_is_noticed_and_the_connection_made_anew() -> None:
    issuer = an_issuer()
    transport = Faulty(issuer)
    async with a_verifier(issuer, transport) as verifier:
        await turns()
        for _ in range(3):  # heartbeats come
            issuer.clock.tick(1)
            await turns()
            assert verifier.staleness == 0
        transport.silent = True
        for _ in range(3):
            issuer.clock.tick(1)
            await turns()
        assert verifier.staleness == 3
        transport.silent = False
        issuer.clock.tick(1)  # the pause before it connects again
        await turns()
        issuer.clock.tick(1)
        await turns()
        assert (transport.streams, verifier.staleness) == (2, 0)


def test_heartbeats_that_were_held_up_prove_nothing_new() -> None:
    clock = MovableClock(start=1_000.0)
    feed = Feed(clock, 5.0)
    feed.connected()
    feed.live(1, clock.monotonic())
    # Another machine's clock, twenty seconds off: only differences count.
    assert feed.heartbeat(clock.now() - 20)
    sent = clock.now() - 20
    clock.tick(2)
    assert feed.heartbeat(sent + 1)  # a second under way
    assert feed.staleness == 1
    clock.tick(5)
    assert not feed.heartbeat(sent + 2)
    assert feed.staleness == 5
    clock.tick(1)
    assert feed.heartbeat(sent + 8)
    assert feed.staleness == 0


@pytest.mark.parametrize("obstacle", ["refused", "silent"])
async def test_where_no_stream_comes_through_it_polls(obstacle: str) -> None:
    issuer = an_issuer()
    transport = Faulty(issuer)
    issuer.transport.streams = obstacle != "refused"
    transport.silent = obstacle == "silent"
    verifier = a_verifier(issuer, transport)
    starting = asyncio.create_task(verifier.start())
    for _ in range(5):
        await turns()
        issuer.clock.tick(1)
    await starting
    subscriber = verifier._subscriber
    assert subscriber is not None
    assert subscriber.using == "poll"
    token = issuer.token()
    assert await accepted(verifier, token)
    issuer.revoke(token)
    await turns()
    assert not await accepted(verifier, token)
    issuer.transport.streams, transport.silent = True, False
    for _ in range(70):
        issuer.clock.tick(1)
        await turns(30)
    assert subscriber.using == "stream"
    await verifier.close()


async def test_long_poll_loses_nothing_either() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer, issuer.transport, revocations="poll") as verifier:
        for number in range(30):
            token = issuer.token()
            assert await accepted(verifier, token)
            issuer.revoke(token)
            await turns(60)
            assert not await accepted(verifier, token)
            if number == 10:
                issuer.ledger.lost = issuer.ledger.position + 1
            issuer.clock.tick(0.5)
            await turns(60)
            assert verifier.staleness < 5


async def test_without_credentials_that_serve_it_knows_nothing_and_says_so() -> None:
    issuer = an_issuer()

    def supplier() -> str:
        raise OSError("the vault is sealed")

    async with issuer.verifier(token=supplier, on_stale="refuse", revocations="poll") as verifier:
        with pytest.raises(StaleKnowledge):
            await verifier.verify(issuer.token())
        assert verifier.staleness == float("inf")
    bearer = issuer.verifier(token=lambda: asyncio.sleep(0, "a-token"))
    async with bearer as verifier:
        await verifier.verify(issuer.token())
        assert verifier.staleness == 0


async def test_a_feed_that_is_none_is_begun_anew() -> None:
    issuer = an_issuer()
    transport = Rubbish(issuer)
    verifier = issuer.verifier(transport=transport, on_stale="refuse")
    starting = asyncio.create_task(verifier.start())
    for _ in range(12):
        await turns()
        issuer.clock.tick(6)
    await starting
    for _ in range(70):
        issuer.clock.tick(1)
        await turns(30)
    assert transport.asked > len(Rubbish.answers)
    assert verifier.staleness == 0
    await verifier.close()


class Rubbish(httpx.AsyncBaseTransport):
    answers = (
        b"event: revoked\nid: 1\ndata: {}\n\n",
        b"event: live\nid: one\ndata: {}\n\n",
        b"event: snapshot\nid: 1\ndata: []\n\n",
        b"event: live\nid: 1\n\nevent: heartbeat\nid: 1\ndata: {}\n\n",
        b"event: snapshot\nid: 1\ndata: {\n\n",
    )

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == PATH and "event-stream" in request.headers["accept"]:
            self.asked += 1
            if self.asked <= len(self.answers):
                headers = {"content-type": "text/event-stream"}
                return httpx.Response(200, headers=headers, content=self.answers[self.asked - 1])
        return await self._issuer.transport.handle_async_request(request)


def test_no_credentials_no_feed() -> None:
    with pytest.raises(ValueError, match="needs client_id"):
        Verifier("https://identity.example", "https://api.example", revocations="stream")
    with pytest.raises(ValueError, match="come together"):
        Verifier("https://identity.example", "https://api.example", client_id=CLIENT[0])


async def test_a_request_that_waits_brings_a_lost_subscription_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber.random, "uniform", lambda least, most: most)
    issuer = an_issuer()
    token = issuer.token(expires_in=3_600)
    async with a_verifier(issuer, issuer.transport) as verifier:
        assert await accepted(verifier, token)
        with issuer.down():
            for _ in range(60):  # attempts have become rare
                issuer.clock.tick(1.0)
                await turns(20)
            with pytest.raises(StaleKnowledge):
                await verifier.verify(token)
            await turns()
        issuer.clock.tick(0.6)  # less than the pause that the subscription takes by itself
        await turns()
        with pytest.raises(StaleKnowledge):
            await verifier.verify(token)
        await turns()
        assert await accepted(verifier, token)
