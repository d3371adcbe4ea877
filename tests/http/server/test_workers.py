"""Several processes behind one port: one that cannot stay up costs the others nothing."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from identity.http.server.sockets import SPREAD, hold, own
from identity.http.server.workers import Worker, pause
from tests.databases import wait_until
from tests.faults.workers import begun, children
from tests.serving import Server

pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(not SPREAD, reason="elsewhere all processes accept from one socket"),
]
ASKED = 60


def slowest(server: Server, count: int) -> float:
    """Seconds of the longest of as many new connections, each asked once, in turn."""
    longest = 0.0
    for _ in range(count):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1.1 200"), "no answer"
        longest = max(longest, time.monotonic() - began)
    return longest


@contextmanager
def without_parent(server: Server) -> Iterator[None]:
    """Nobody is started meanwhile, however long it takes."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_new_connections_never_wait_for_a_worker_that_is_not_there(
    server: Callable[..., Server],
) -> None:
    service = server(workers=2)
    wait_until(lambda: begun(service) == 2, 10, lambda: "the second never came")
    first = min(children(service))
    for count in (3, 4):
        (victim,) = children(service) - {first}
        with without_parent(service):
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda pid=victim: not alive(pid), 20, lambda: "it lives")
            assert slowest(service, ASKED) < 0.5
            assert begun(service) == count - 1
        wait_until(lambda n=count: begun(service) == n, 20, lambda: "none replaced it")
    assert first in children(service)


def test_a_worker_that_dies_as_it_starts_again_and_again_stalls_nobody(
    server: Callable[..., Server],
) -> None:
    """Killed before it can serve, as often as the parent starts it."""
    service = server(workers=2)
    wait_until(lambda: begun(service) == 2, 10, lambda: "the second never came")
    first = min(children(service))
    with killed_again_and_again(service, first) as killed:
        wait_until(lambda: len(killed) >= 3, 20, lambda: f"only {killed} were started")
        assert slowest(service, ASKED) < 0.5
    assert first in children(service)
    assert service.stop() == 0


def test_only_who_cannot_start_is_waited_for_longer_and_longer(dialect: str) -> None:
    """Whatever kills those that do serve must not keep their place empty."""
    pauses = []
    worker = Worker()
    for _ in range(8):
        worker.pause = pause(worker, 0.1)
        pauses.append(worker.pause)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    worker.ready = True
    assert pause(worker, 0.1) == 0.5
    assert pause(worker, 60) == 0


@contextmanager
def killed_again_and_again(service: Server, but: int) -> Iterator[list[int]]:
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.01):
            for pid in children(service) - {but}:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


def alive(pid: int) -> bool:
    """Neither gone nor waiting to be buried; with its last thread its sockets have ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def test_what_the_parent_holds_keeps_the_port_and_takes_no_connection(dialect: str) -> None:
    (held,) = hold("127.0.0.1", 0, shared=True)
    place = held.getsockname()
    with closing(held):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(place, timeout=2)
        (mine,) = own([socket.socket(fileno=os.dup(held.fileno()))])
        with closing(mine):
            mine.listen()
            socket.create_connection(place, timeout=2).close()
            with pytest.raises(OSError, match="in use"):
                hold(*place, shared=True)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(place, timeout=2)
