"""How a process ends: asked to, it finishes; killed, it loses at most what it held."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from tests.databases import wait_until
from tests.faults.replicas import CLIENT, Line, Replicas
from tests.serving import Server

WITHIN = 10  # seconds


def issue(replicas: Replicas, count: int) -> None:
    """Tokens from all servers at once."""

    def work(line: Line) -> None:
        for _ in range(count // len(replicas.servers)):
            line.issue()

    with replicas.lines() as lines, ThreadPoolExecutor(len(lines)) as threads:
        list(threads.map(work, lines))


def test_nothing_that_the_audit_holds_is_lost_when_the_service_is_asked_to_stop(
    replicas: Callable[[int], Replicas],
) -> None:
    ours = replicas(2)
    issue(ours, 400)
    assert [server.stop(WITHIN) for server in ours.servers] == [0, 0]
    assert len(ours.events("token.issued")) == 400
    assert ours.faults() == []


def test_a_killed_service_loses_at_most_what_it_held(
    replicas: Callable[[int], Replicas],
) -> None:
    """What has been written is chained by whoever is still there."""
    ours = replicas(2)
    doomed, other = ours.servers
    issue(ours, 60)
    wait_until(lambda: len(ours.events("token.issued")) == 60, 10, lambda: "nothing was written")
    issue(ours, 40)
    doomed.kill()
    wait_until(lambda: len(ours.events("token.issued")) >= 80, 10, lambda: "nothing was written")
    wait_until(ours.sealed, 10, lambda: "nobody seals")
    with ours.lines(other) as (line,):
        line.issue()
    assert other.stop(WITHIN) == 0
    assert 80 < len(ours.events("token.issued")) <= 101
    assert ours.sealed()
    assert ours.faults() == []


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_request_under_way_is_finished_before_the_workers_stop(
    server: Callable[..., Server],
) -> None:
    """One that has sent its head and is asked for its body, at each worker that the kernel may
    have given it to."""
    both = server(workers=2)
    body = urlencode({"token": "unknown"}).encode()
    head = (
        f"POST /revoke HTTP/1.1\r\nHost: {CLIENT}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n"
    ).encode()
    connections = []
    for _ in range(6):
        connection = socket.create_connection(("127.0.0.1", both.port), timeout=WITHIN)
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connections.append(connection)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(both.stop, WITHIN)
        wait_until(lambda: not accepts(both), WITHIN, lambda: "it goes on accepting")
        assert not stopping.done()
        for connection in connections:
            connection.sendall(body)
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            connection.close()
        assert stopping.result(WITHIN) == 0


def accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except ConnectionError:
        return False
    return True
