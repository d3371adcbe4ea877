"""The stream of revocations over real connections to real servers: nothing is lost, whatever is
cut, killed or left."""

import http.client
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median

import httpx
import pytest

from identity.errors import Unavailable
from identity.opaque import new_id
from identity.tokens.sessions import lifecycle
from tests.databases import Postgres, migrate, wait_until
from tests.faults.replicas import Replicas
from tests.oauth.revocation_feed.conftest import Watched
from tests.oauth.revocation_feed.following import Follower, Knowledge
from tests.serving import Server

BOUND = 0.5  # seconds from a commit to every follower's knowledge, on a busy machine
STREAMS = 200


def end_session(replicas: Replicas, session_id: str) -> None:
    with replicas.db.transaction() as session:
        lifecycle.end(session, session_id, "test")


def knows(kind: str, ref: str) -> Callable[[Follower], bool]:
    return lambda follower: (kind, ref) in follower.knowledge.refs


def test_a_revocation_at_one_replica_is_told_by_the_other(watched: Watched) -> None:
    here, there = watched.servers
    follower = Follower(there.port, watched.authorization)
    follower.wait_live()
    assert [event.name for event in follower.events[:2]] == ["snapshot", "live"]
    for header in (b"content-type: text/event-stream", b"cache-control: no-store", b"x-request-id"):
        assert header in follower.head
    with watched.lines(here) as (line,):
        for _ in range(20):
            token = line.issue()
            claims = line.introspect(token)
            began = time.perf_counter()
            line.revoke(token)
            answered = time.perf_counter()
            follower.wait(knows("token", claims["jti"]))
            event = follower.named("revoked")[-1]
            assert event.at - answered < BOUND
            assert set(event.data) == {"id", "kind", "ref", "at", "exp"}
            assert abs(event.data["at"] - time.time()) < 60
            assert claims["exp"] <= event.data["exp"] <= claims["exp"] + 60
            assert event.at > began
    follower.close()


def test_who_comes_later_is_told_all_that_who_was_there_has_heard(watched: Watched) -> None:
    here, there = watched.servers
    user = watched.user()
    early = Follower(here.port, watched.authorization)
    early.wait_live()
    with watched.lines(here) as (line,):
        for _ in range(3):
            line.revoke(line.issue())
            end_session(watched, line.introspect(line.log_in(user.username)["access_token"])["sid"])
        watched.change("key.revoked", "a kid")
    early.wait(knows("key", "a kid"))
    for server in (here, there):
        late = Follower(server.port, watched.authorization)
        late.wait_live()
        assert late.knowledge.entries == early.knowledge.entries
        assert late.named("revoked") == []
        late.close()
    early.close()


def test_heartbeats_come_every_second_and_are_of_now(watched: Watched) -> None:
    follower = Follower(watched.servers[0].port, watched.authorization)
    follower.wait(lambda f: len(f.named("heartbeat")) >= 6, 30)
    beats = follower.named("heartbeat")
    pauses = [after.at - before.at for before, after in pairwise(beats)]
    assert 0.5 < median(pauses) <= max(pauses) < 2.5
    said = beats[-1].data["now"] - beats[0].data["now"]
    assert said == pytest.approx(beats[-1].at - beats[0].at, abs=2)
    since = time.perf_counter() - beats[-1].at
    assert abs(beats[-1].data["now"] - (time.time() - since)) < 2
    assert beats[-1].id == follower.named("live")[0].id
    follower.close()


def test_nothing_is_lost_over_random_cuts_and_moves(watched: Watched) -> None:
    """Torn down in the middle of events, and taken up at either replica."""
    dice = random.Random(4)
    knowledge = Knowledge()
    first = Follower(watched.servers[0].port, watched.authorization, knowledge)
    first.wait_live()
    first.close()
    done = threading.Event()

    def revoke() -> None:
        while not done.wait(dice.uniform(0, 0.01)):
            watched.change("session.ended", new_id())

    revoking = threading.Thread(target=revoke)
    revoking.start()
    try:
        for _ in range(25):
            follower = Follower(
                dice.choice(watched.servers).port,
                watched.authorization,
                knowledge,
                cut_after=dice.randrange(400, 6000),
            )
            follower.wait_end()
            assert not follower.named("reset")
    finally:
        done.set()
        revoking.join()
    last = Follower(watched.servers[1].port, watched.authorization, knowledge)
    last.wait_live()
    told = {number: (e["kind"], e["ref"]) for number, e in knowledge.entries.items()}
    assert told == watched.told()
    last.close()


@pytest.mark.parametrize("unknown", ["999999999", "nonsense", "-1"])
def test_who_names_a_position_that_nobody_knows_begins_anew(watched: Watched, unknown: str) -> None:
    watched.change("key.revoked", "a kid")
    follower = Follower(watched.servers[0].port, watched.authorization, last=unknown)
    follower.wait_live()
    assert [event.name for event in follower.events[:3]] == ["reset", "snapshot", "live"]
    assert ("key", "a kid") in follower.knowledge.refs
    follower.close()


def test_who_resumes_hears_what_came_since_and_nothing_else(watched: Watched) -> None:
    first = Follower(watched.servers[0].port, watched.authorization)
    first.wait_live()
    first.close()
    ref = new_id()
    watched.change("session.ended", ref)
    watched.change("user.changed", "nobody's business")
    again = Follower(watched.servers[1].port, watched.authorization, first.knowledge)
    again.wait_live()
    assert [event.name for event in again.events[:2]] == ["revoked", "live"]
    assert again.events[0].data["ref"] == ref
    assert again.events[0].id == first.named("live")[0].id  # whoever is cut off here goes on there
    assert int(again.events[1].id) > int(again.events[0].id)
    again.close()


def test_the_stream_goes_on_after_a_server_was_killed_and_started_again(
    start: Callable[[int], Watched],
) -> None:
    replicas = start(1)
    knowledge = Knowledge()
    follower = Follower(replicas.servers[0].port, replicas.authorization, knowledge)
    follower.wait_live()
    missed = [new_id() for _ in range(3)]
    replicas.change("session.ended", missed[0])
    follower.wait(knows("session", missed[0]))
    replicas.servers[0].kill()
    follower.wait_end()
    replicas.change("session.ended", missed[1])
    follower = Follower(replicas.start().port, replicas.authorization, knowledge)
    follower.wait_live()
    replicas.change("session.ended", missed[2])
    follower.wait(knows("session", missed[2]))
    assert not follower.named("snapshot")
    assert {ref for _, ref in knowledge.refs} == set(missed)
    follower.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_service_that_is_told_to_stop_does_not_wait_for_its_followers(
    server: Callable[..., Server], workers: int, start: Callable[[int], Watched]
) -> None:
    replicas = start(1)
    stopped = server(workers=workers)
    followers = [Follower(stopped.port, replicas.authorization) for _ in range(5)]
    for follower in followers:
        follower.wait_live()
    position = followers[0].knowledge.last
    poll = http.client.HTTPConnection("127.0.0.1", stopped.port, timeout=20)
    headers = {"authorization": replicas.authorization}
    poll.request("GET", f"/revocations?after={position}", headers=headers)
    assert poll.getresponse().read()
    poll.request("GET", f"/revocations?after={position}&wait=30", headers=headers)
    for _ in range(40):  # whichever worker has read the poll has answered one of these since
        assert httpx.get(f"{stopped.url}/healthz", trust_env=False).status_code == 200
    began = time.monotonic()
    assert stopped.stop() == 0
    assert time.monotonic() - began < 4
    assert poll.getresponse().status in (200, 503)
    poll.close()
    for follower in followers:
        follower.wait_end()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_two_hundred_streams_hear_of_it_at_once(start: Callable[[int], Watched]) -> None:
    replicas = start(1)
    server = replicas.servers[0]
    before = _resident(server.pid)
    followers = [Follower(server.port, replicas.authorization) for _ in range(STREAMS)]
    for follower in followers:
        follower.wait_live()
    memory = (_resident(server.pid) - before) / STREAMS
    ref = new_id()
    replicas.change("session.ended", ref)
    committed = time.perf_counter()
    for follower in followers:
        follower.wait(knows("session", ref))
    late = max(follower.named("revoked")[-1].at for follower in followers) - committed
    print(f"{memory / 1024:.1f} KiB a stream, all told after {late * 1e3:.0f} ms")
    assert late < 2
    assert memory < 128 * 1024
    for follower in followers:
        follower.close()
    gauge = "identity_revocation_streams 0.0"
    url = f"{server.url}/metrics"
    wait_until(lambda: gauge in httpx.get(url, trust_env=False).text, 5, lambda: "they stayed")


def _resident(pid: int) -> int:
    """Octets of memory that a process occupies."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_without_a_database_there_are_no_heartbeats_and_then_all_is_told(
    tmp_path: Path,
) -> None:
    postgres = Postgres(durable=True)
    try:
        url = postgres.create()
        migrate(url)
        replicas = Watched(url, tmp_path, 1)
        try:
            follower = Follower(replicas.servers[0].port, replicas.authorization)
            follower.wait(lambda f: bool(f.named("heartbeat")))
            postgres.stop()
            stopped = time.perf_counter()
            time.sleep(3)
            assert all(beat.at < stopped + 0.1 for beat in follower.named("heartbeat"))
            postgres.start()
            with suppress(Unavailable):  # this process's own connection is dead
                replicas.change("user.changed", "-")
            ref = new_id()
            replicas.change("session.ended", ref)
            follower.wait(knows("session", ref), 20)
            follower.wait(lambda f: f.events[-1].name == "heartbeat", 20)
            assert not follower.named("reset")
            follower.close()
        finally:
            replicas.close()
    finally:
        postgres.remove()
