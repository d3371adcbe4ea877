"""SIGKILL in the middle of a refresh storm: no session is lost, none has two living tokens, and
what was dead stays dead."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from identity.settings import SessionSettings
from tests.databases import Postgres, migrate, wait_until
from tests.faults.replicas import BROKEN, Line, Replicas

STORMS = 3
CLIENTS = 6


@dataclass
class Holder:
    """A client that refreshes as fast as it can, and what it has seen of its session."""

    sid: str
    tokens: list[str]
    """All that were handed out to it, newest last."""
    access: str
    answered: int = 0
    cut: bool = False
    """Its last use of a token was left without an answer."""
    errors: list[str] = field(default_factory=list)

    def refresh(self, line: Line) -> bool:
        """Swap the newest token; False where no answer came, or one that says try again."""
        try:
            answer = line.refresh(self.tokens[-1])
        except BROKEN:
            self.cut = True
            return False
        if answer.status == 503:
            self.cut = True
            return False
        if answer.status != 200:
            self.errors.append(f"{answer.status} {answer.document}")
            return False
        self.tokens.append(answer.document["refresh_token"])
        self.access = answer.document["access_token"]
        self.answered += 1
        self.cut = False
        return True

    def storm(self, line: Line) -> None:
        while self.refresh(line):
            pass


def begin(line: Line, username: str) -> Holder:
    login = line.log_in(username)
    access = login["access_token"]
    return Holder(line.introspect(access)["sid"], [login["refresh_token"]], access)


class Storm:
    """Rounds of: refresh from all clients at once, kill, start again, look at what is left."""

    def __init__(self, replicas: Replicas, kill: Callable[[int], None]) -> None:
        self._replicas = replicas
        self._kill = kill
        self._random = random.Random(2)

    def rage(self) -> list[Holder]:
        replicas = self._replicas
        username = replicas.user().username
        dead: list[str] = []
        with replicas.lines() as (line,):
            holders = [begin(line, username) for _ in range(CLIENTS)]
        for number in range(STORMS):
            with replicas.lines(*replicas.servers * (CLIENTS + 1)) as (line, *lines):
                doomed = begin(line, username)
                with ThreadPoolExecutor(CLIENTS) as threads:
                    storms = [
                        threads.submit(holder.storm, own)
                        for holder, own in zip(holders, lines, strict=True)
                    ]
                    line.revoke(doomed.tokens[-1])
                    dead += [doomed.access, doomed.tokens[-1]]
                    self._wait_for_some(holders)
                    killed_at = time.monotonic()
                    self._kill(number)
                for storm in storms:
                    storm.result()
            with replicas.lines() as (line,):
                if (
                    time.monotonic() - killed_at
                    > SessionSettings().refresh_retry_window.total_seconds() - 1
                ):
                    # A crowded machine: no retry is promised to whoever was cut off so long ago.
                    holders = [h if not h.cut else begin(line, username) for h in holders]
                self._look(line, holders, dead)
        return holders

    def _wait_for_some(self, holders: list[Holder]) -> None:
        """A moment in the thick of it that nobody chose, between two answers or inside one."""
        before = sum(holder.answered for holder in holders)
        wait_until(
            lambda: sum(holder.answered for holder in holders) >= before + 2 * CLIENTS,
            30, lambda: "the storm does not begin",
        )  # fmt: skip
        threading.Event().wait(self._random.uniform(0, 0.1))

    def _look(self, line: Line, holders: list[Holder], dead: list[str]) -> None:
        for holder in holders:
            assert holder.errors == []
            assert self._replicas.live_refresh_tokens(holder.sid) == 1
            assert line.active(holder.access)
            # The newest token that arrived, or if its use was cut off, the retry.
            assert holder.refresh(line), holder.errors
            assert self._replicas.live_refresh_tokens(holder.sid) == 1
            assert line.active(holder.tokens[-1])
            assert not any(line.active(token) for token in holder.tokens[-4:-1])
        assert not any(line.active(token) for token in dead)


def see_that_replays_end_the_session(replicas: Replicas, holders: list[Holder]) -> None:
    with replicas.lines() as (line,):
        for holder in holders:
            while len(holder.tokens) < 4:
                assert holder.refresh(line), holder.errors
            replay = line.refresh(holder.tokens[-3])
            assert (replay.status, replay.document["error"]) == (400, "invalid_grant")
            assert replicas.live_refresh_tokens(holder.sid) == 0
            assert not line.active(holder.access)
            assert line.refresh(holder.tokens[-1]).status == 400


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_killed_service_loses_no_session_on_sqlite(
    replicas: Callable[[int], Replicas],
) -> None:
    ours = replicas(1)

    def kill(_: int) -> None:
        ours.servers[0].kill()
        ours.servers[0] = ours.start()

    holders = Storm(ours, kill).rage()
    see_that_replays_end_the_session(ours, holders)
    assert ours.faults() == []


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[tuple[Postgres, Replicas]]:
    postgres = Postgres(durable=True)
    try:
        url = postgres.create()
        migrate(url)
        replicas = Replicas(url, tmp_path, 1)
        yield postgres, replicas
        replicas.close()
    finally:
        postgres.remove()


@pytest.mark.slow
def test_a_killed_service_or_database_loses_no_session_on_postgresql(
    durable: tuple[Postgres, Replicas],
) -> None:
    postgres, ours = durable

    def kill(number: int) -> None:
        service, database = ((True, False), (False, True), (True, True))[number]
        if database:
            postgres.kill()
        if service:
            ours.servers[0].kill()
        if database:
            postgres.start()
            ours.db.engine.dispose()  # this process asks again, too
        if service:
            ours.servers[0] = ours.start()

    holders = Storm(ours, kill).rage()
    see_that_replays_end_the_session(ours, holders)
    assert ours.faults() == []
