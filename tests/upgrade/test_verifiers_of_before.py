"""Siblings that still have the verifier of the version before follow this version's revocations:
its positions are longer numbers, and no ids."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.databases import environment
from tests.faults.replicas import ISSUER
from tests.oauth.revocation_feed.conftest import Watched

pytestmark = pytest.mark.slow
FOLLOWER = Path(__file__).with_name("follower.py")
WITHIN = 20.0  # seconds, on a busy machine


class Follower:
    def __init__(self, mode: str, replicas: Watched, code: Path, folder: Path) -> None:
        arguments = [mode, ISSUER, ISSUER, "sibling", replicas.siblings_secret]
        arguments.append(str(replicas.servers[0].port))
        self._process = subprocess.Popen(
            [sys.executable, FOLLOWER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(code),
        )
        assert self._line() == "ready"

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._line()

    def comes_to(self, token: str, wanted: str) -> bool:
        """Whether it will say so of `token`."""
        until = time.monotonic() + WITHIN
        while self.ask(token) != wanted:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    @property
    def position(self) -> tuple[int, int]:
        position, resets = self.ask("position").split()
        return int(position), int(resets)

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def follow(
    database_url: str, code_before: Path, tmp_path: Path
) -> Iterator[Callable[[str], tuple[Watched, Follower]]]:
    """`follow(mode)`: two servers of this version, and who follows the first of them."""
    with ExitStack() as ends:

        def follow(mode: str) -> tuple[Watched, Follower]:
            servers = Watched(database_url, tmp_path, 2)
            ends.callback(servers.close)
            follower = Follower(mode, servers, code_before, tmp_path)
            ends.callback(follower.close)
            return servers, follower

        yield follow


@pytest.mark.parametrize("mode", ["stream", "poll"])
def test_the_verifier_of_before_goes_on_from_its_position_at_another_replica(
    follow: Callable[[str], tuple[Watched, Follower]], mode: str
) -> None:
    replicas, follower = follow(mode)
    first, second = replicas.servers
    with replicas.lines(second) as (line,):
        tokens = [line.issue() for _ in range(4)]
        assert all(follower.comes_to(token, "alive") for token in tokens)
        begun, resets = follower.position
        line.revoke(tokens[0])
        assert follower.comes_to(tokens[0], "Revoked")
        assert follower.position[0] > begun
        reached, _ = follower.position

        follower.ask(f"port {second.port}")
        first.stop()
        line.revoke(tokens[1])
        assert follower.comes_to(tokens[1], "Revoked")
        assert follower.comes_to(tokens[3], "alive")
        line.revoke(tokens[2])
        assert follower.comes_to(tokens[2], "Revoked")
        assert follower.comes_to(tokens[3], "alive")
    assert follower.position[0] > reached
    assert follower.position[1] == resets
