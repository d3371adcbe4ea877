"""One address holds a share of the connections, never all of them."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from identity.http.wire.shares import Shares
from identity.settings import Settings
from tests.databases import wait_until
from tests.serving import Server

pytestmark = [pytest.mark.wire, pytest.mark.parametrize("dialect", ["sqlite"])]
ONE, OTHER = "127.0.0.1", "127.0.0.2"


def ask(connection: socket.socket, path: str = "/healthz") -> bytes:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    said = b""
    while b"\r\n\r\n" not in said and (piece := connection.recv(4096)):
        said += piece
    return said


@contextmanager
def connected(server: Server, source: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections from `source` that say nothing yet."""
    with ExitStack() as open_ones:
        yield [
            open_ones.enter_context(
                socket.create_connection((ONE, server.port), 10, source_address=(source, 0))
            )
            for _ in range(count)
        ]


def status(said: bytes) -> int:
    return int(said.split()[1])


def test_an_address_beyond_its_share_is_told_so_while_others_are_served(
    server: Callable[..., Server],
) -> None:
    service = server(MAX_CONNECTIONS="20")  # of which one address has half
    with connected(service, ONE, 30) as flood, connected(service, OTHER, 5) as others:
        assert [status(ask(each)) for each in others] == [200] * 5
        assert [status(ask(each)) for each in flood[:10]] == [200] * 10
        refusals = [ask(each) for each in flood[-3:]]
        for refusal in refusals:
            assert status(refusal) == 503
            assert b"retry-after: 1" in refusal
            assert b"too many connections from this address" in refusal

    def served() -> bool:
        with connected(service, ONE, 1) as (again,):
            return status(ask(again)) == 200

    wait_until(served, 5, lambda: "still too many, and all are gone")
    assert service.log.read_text().count("too many connections from one address") == 1


def test_connections_beyond_the_share_that_ask_nothing_are_closed_soon(
    server: Callable[..., Server],
) -> None:
    service = server(MAX_CONNECTIONS="20", MAX_CONNECTIONS_PER_ADDRESS="2")
    with connected(service, ONE, 4) as flood:
        began = time.monotonic()
        for silent in flood[2:]:
            silent.settimeout(6)
            with suppress(ConnectionResetError):
                assert silent.recv(1) == b""
        assert time.monotonic() - began < 5
        assert [status(ask(each)) for each in flood[:2]] == [200, 200]


def test_a_trusted_proxy_speaks_for_many(server: Callable[..., Server]) -> None:
    service = server(
        MAX_CONNECTIONS="20", MAX_CONNECTIONS_PER_ADDRESS="2", TRUSTED_PROXIES=f"{OTHER}/32"
    )
    with connected(service, OTHER, 10) as proxied, connected(service, ONE, 3) as direct:
        assert [status(ask(each)) for each in proxied] == [200] * 10
        assert [status(ask(each)) for each in direct] == [200, 200, 503]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::", "0.0.0.0", False),
    ],
)
def test_one_customer_has_an_ipv4_address_or_an_ipv6_network(
    dialect: str, one: str, other: str, same: bool
) -> None:
    shares = Shares(1, ())
    assert (shares.whose(one) == shares.whose(other)) is same


def test_what_is_counted_comes_to_nothing_again(dialect: str) -> None:
    trusted: Any = Settings.of(trusted_proxies="10.0.0.0/8").server.trusted_proxies
    shares = Shares(1, trusted)
    assert shares.whose("10.1.2.3") is None
    who = shares.whose("192.0.2.1")
    assert who is not None
    assert [shares.enter(who), shares.enter(who)] == [1, 2]
    shares.leave(who)
    shares.leave(who)
    assert shares._held == {}
