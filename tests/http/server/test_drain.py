"""Asked to stop, a process serves on for as long as the drain lasts, and sends everybody away."""

import http.client
import signal
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from identity.settings import Settings
from tests.databases import wait_until
from tests.serving import Server

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


Said = tuple[int, str | None, bytes]
"""(status, Connection, body)"""


def ask(connection: http.client.HTTPConnection, path: str) -> Said:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("connection"), answer.read()


def get(server: Server, path: str) -> Said:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        return ask(connection, path)


@pytest.mark.parametrize(("workers", "reader"), [(1, "own"), (2, "own"), (1, "plain")])
def test_readiness_fails_first_and_requests_are_served_until_the_drain_is_over(
    server: Callable[..., Server], workers: int, reader: str
) -> None:
    service = server(workers, DRAIN="4s", HTTP=reader)
    kept = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
    assert ask(kept, "/healthz")[:2] == (200, None)
    socket_kept = kept.sock
    began = time.monotonic()
    service.process.terminate()
    wait_until(lambda: get(service, "/readyz")[0] == 503, 20, lambda: "it goes on being ready")
    status, connection, body = get(service, "/readyz")
    assert (status, connection) == (503, "close")
    assert b"about to stop" in body
    for path, expected in (
        ("/healthz", 200),
        ("/.well-known/jwks.json", 200),
        ("/users", 401),
        ("/users/me", 401),
        ("/no/such", 404),
        ("/docs", 200),
    ):
        assert get(service, path)[:2] == (expected, "close"), path
    assert kept.sock is socket_kept
    assert ask(kept, "/healthz")[:2] == (200, "close")
    kept.close()
    assert service.process.poll() is None
    assert service.process.wait(15) == 0
    assert 3.9 < time.monotonic() - began < 12


def test_a_second_interrupt_ends_the_drain(server: Callable[..., Server]) -> None:
    service = server(DRAIN="60s")
    service.process.send_signal(signal.SIGINT)
    wait_until(lambda: get(service, "/readyz")[0] == 503, 20, lambda: "it goes on being ready")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(10) == 0


def test_without_a_drain_it_stops_accepting_at_once(server: Callable[..., Server]) -> None:
    service = server()
    service.process.terminate()
    began = time.monotonic()
    assert service.process.wait(10) == 0
    assert time.monotonic() - began < 5


def test_the_default_is_no_drain(dialect: str) -> None:
    assert Settings.of().server.drain.total_seconds() == 0
    assert Settings.of(drain="20s").server.drain.total_seconds() == 20
