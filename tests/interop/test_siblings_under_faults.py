"""What a sibling says of tokens while things break, on the real service over real connections: it
takes no revoked token beyond its bound, and refuses no valid one while the issuer is healthy."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from identity.verifier import Revoked, SyncVerifier, SystemClock
from tests.databases import ROOT, environment, wait_until
from tests.interop.deployment import AUDIENCE, Deployment, seconds_until
from tests.interop.watching import watching
from tests.interop.wire import Wire
from tests.serving import ADMIN_PASSWORD, Server
from tests.templates import Templates

BOUND = 2.0
"""Seconds: the verifiers' `max_staleness`."""
ON_THE_WAY = 0.5
"""Seconds that the quickest heartbeat may have taken on a busy machine: a verifier knows how much
longer than that one the others took, but not how long that one did."""
FOUND_AGAIN = 2.0
"""Seconds within which a sibling finds an issuer that was away. Being asked ends its pauses; half a
second was measured, and a busy machine takes longer."""


class Site:
    """Two replicas on one database; siblings reach one of them at `wire.url`, the issuer."""

    def __init__(self, url: str, folder: Path) -> None:
        self._ends = ExitStack()
        self._folder = folder
        self._settings = {
            "DATABASE_URL": url,
            "KEYS_DIR": str(folder / "keys"),
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BCRYPT_ROUNDS": "4",
            "TEST_WEAK_HASHING": "1",
            "LOG_LEVEL": "warning",
        }
        self.wire = Wire()
        self._ends.callback(self.wire.close)
        self._settings["ISSUER"] = self.wire.url
        self.replicas = [self.start(), self.start()]
        self.wire.point_to(self.replicas[0].port)
        self.here = Deployment(self.wire.url)
        self._ends.callback(self.here.close)

    def start(self) -> Server:
        server = Server(self._folder, self._settings)
        self._ends.callback(server.stop)
        return server

    def close(self) -> None:
        self._ends.close()

    @contextmanager
    def verifier(self, **options: Any) -> Iterator[SyncVerifier]:
        client = {"client_id": self.here.sibling.id, "client_secret": self.here.sibling.secret}
        chosen = {**client, "max_staleness": BOUND, **options}
        with SyncVerifier(self.wire.url, AUDIENCE, **chosen) as verifier:
            yield verifier


@pytest.fixture(scope="session")
def sites(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    made: dict[str, Site] = {}

    def site(dialect: str) -> Site:
        if dialect not in made:
            folder = tmp_path_factory.mktemp(f"site-{dialect}")
            made[dialect] = Site(templates.fresh(dialect, folder), folder)
        return made[dialect]

    yield site
    for each in made.values():
        each.close()


@pytest.fixture
def site(dialect: str, sites: Callable[[str], Site]) -> Site:
    """Shared by tests that leave it healthy."""
    return sites(dialect)


def test_killed_and_restarted_the_service_has_forgotten_nothing(site: Site) -> None:
    revoked, good = site.here.token(), site.here.token()
    with site.verifier() as verifier, watching(verifier, revoked=revoked, good=good) as watch:
        since = site.here.revoke(revoked)
        site.replicas[0].kill()
        killed = time.monotonic()
        site.replicas[0] = site.start()
        site.wire.point_to(None)  # until the bound has passed, should the start have been quicker
        wait_until(lambda: time.monotonic() > killed + BOUND + 1, 10, lambda: "")
        site.wire.point_to(site.replicas[0].port)
        healthy = time.monotonic()
        wait_until(lambda: watch.last("good") is None, FOUND_AGAIN, lambda: "still refused")
        wait_until(lambda: watch.last("revoked") is Revoked, FOUND_AGAIN, lambda: "no verdict")
        wait_until(lambda: verifier.staleness < BOUND, FOUND_AGAIN, lambda: "no stream")
    assert max(watch.taken_after("revoked", since), default=0.0) < BOUND + ON_THE_WAY
    refusals = watch.refusals("good")
    assert all(each.unavailable for each in refusals)  # 503, never that it is no good
    assert all(killed < each.at < healthy + FOUND_AGAIN for each in refusals)
    assert refusals  # the policy was put to the test


def test_moved_to_another_replica_nothing_is_lost_and_nothing_refused(site: Site) -> None:
    """Revoked at one replica just before the move, at the other just after it."""
    first, second, good = site.here.token(), site.here.token(), site.here.token()
    one, other = site.replicas
    with (
        site.verifier() as verifier,
        watching(verifier, first=first, second=second, good=good) as watch,
    ):
        for replica, name, token in ((other, "first", first), (one, "second", second)):
            since = site.here.revoke(token)
            site.wire.point_to(replica.port)
            took = seconds_until(lambda name=name: watch.last(name) is Revoked, since)
            assert took < BOUND + ON_THE_WAY
        assert watch.refusals("good") == []


@pytest.mark.parametrize("octets", [0, 6, 30, 100])
def test_cut_in_mid_event_the_stream_goes_on_where_it_was(site: Site, octets: int) -> None:
    revoked, good = site.here.token(), site.here.token()
    with site.verifier() as verifier, watching(verifier, revoked=revoked, good=good) as watch:
        before = site.wire.cut
        site.wire.cut_behind(b"event: revoked", octets)
        since = site.here.revoke(revoked)
        took = seconds_until(lambda: watch.last("revoked") is Revoked, since)
        assert site.wire.cut == before + 1
        assert took < BOUND + ON_THE_WAY
        assert watch.refusals("good") == []


@pytest.mark.parametrize("off", [-20.0, 20.0])
def test_a_clock_that_is_off_by_twenty_seconds_changes_no_verdict(site: Site, off: float) -> None:
    class Off(SystemClock):
        def now(self) -> float:
            return super().now() + off

    tokens = [site.here.log_in() for _ in range(3)]
    revoked, ended, good = (each["access_token"] for each in tokens)
    with site.verifier(clock=Off()) as verifier:
        with watching(verifier, revoked=revoked, ended=ended, good=good) as watch:
            since = site.here.revoke(revoked)
            site.here.revoke(tokens[1]["refresh_token"])
            for name in ("revoked", "ended"):
                took = seconds_until(lambda name=name: watch.last(name) is Revoked, since)
                assert took < BOUND + ON_THE_WAY
            assert verifier.verify(site.here.token())  # issued after all that, by its clock or not
            assert watch.refusals("good") == []
        bob = site.here.administer("GET", "/users?q=bob")["items"][0]["id"]
        token = site.here.token("bob")
        verifier.verify(token)
        site.here.administer("DELETE", f"/users/{bob}/sessions")
        with watching(verifier, token=token) as watch:
            took = seconds_until(lambda: watch.last("token") is Revoked, time.monotonic())
            assert took < BOUND + ON_THE_WAY
        verifier.verify(site.here.token("bob"))


def test_a_key_rotated_and_a_token_revoked_in_its_sleep_are_known_when_it_wakes(site: Site) -> None:
    client, secret = site.here.sibling.id, site.here.sibling.secret
    old, revoked = site.here.token(), site.here.token()
    arguments = [site.wire.url, AUDIENCE, client, secret, str(BOUND)]
    with subprocess.Popen(
        [sys.executable, ROOT / "tests" / "interop" / "sleeper.py", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as sleeper:
        assert sleeper.stdin and sleeper.stdout
        asking, answering = sleeper.stdin, sleeper.stdout

        def said(token: str) -> str:
            asking.write(token + "\n")
            asking.flush()
            return answering.readline().strip()

        try:
            assert [said(old), said(revoked)] == ["taken", "taken"]
            sleeper.send_signal(signal.SIGSTOP)
            since = site.here.revoke(revoked)
            site.here.administer("POST", "/keys/rotate", {"now": True})
            new = site.here.token()
            wait_until(lambda: time.monotonic() > since + BOUND, 10, lambda: "")
            sleeper.send_signal(signal.SIGCONT)
            assert [said(revoked), said(new), said(old)] == ["Revoked", "taken", "taken"]
        finally:
            sleeper.send_signal(signal.SIGCONT)
            asking.close()
            sleeper.wait(15)
