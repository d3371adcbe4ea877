"""What is refused over a real socket though some servers take it: whoever stands in front may have
read something else."""

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.http.server.test_serving import get, post, process, served, tell

pytestmark = pytest.mark.anyio
HEAD = b"Host: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "host",
    ["a, b", "a,b", "a b", "a/b@c", "u@a", "a?b", "a#b", "a\\b", "a:b", "a:1:2", '"a"', "<a>",
     "%zz", "[::1", "::1", "http://a", "ä"],
)  # fmt: skip
async def test_a_host_is_a_host(host: str) -> None:
    async with served() as port:
        answer = await tell(port, get("/pid").replace(b"Host: x", b"Host: " + host.encode()))
    assert answer.problem()["status"] == 400


@pytest.mark.parametrize(
    "host", ["x", "x:80", "x:", "", "[::1]:80", "a.b-c_d~e", "%41", "127.0.0.1"]
)
async def test_a_host_may_be_spelt_in_many_ways(host: str) -> None:
    async with served() as port:
        answer = await tell(port, get("/pid").replace(b"Host: x", b"Host: " + host.encode()))
    assert answer.status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"GET /pid HTTP/2.0", b"GET /pid HTTP/0.9", b"GET /pid", b"GET  /pid HTTP/1.1",
        b"GET /pid  HTTP/1.1", b"GET\t/pid HTTP/1.1", b"GET /pid HTTP/1.1 ", b"GET /pid HTTP/1.2",
        b"CONNECT x:1 HTTP/1.1", b"GET x:1 HTTP/1.1", b"GET * HTTP/1.1",
        b"GET ftp://x/pid HTTP/1.1", b"GET http://u@x/pid HTTP/1.1",
        b"GET http://a,b/pid HTTP/1.1", b"\r\n\r\nGET /pid HTTP/1.1",
    ],
)  # fmt: skip
async def test_a_request_line_has_one_form(line: bytes) -> None:
    async with served() as port:
        answer = await tell(port, line + b"\r\n" + HEAD + b"\r\n")
    assert answer.problem()["status"] == 400


@pytest.mark.parametrize("line", [b"TRACE /pid HTTP/1.1", b"OPTIONS * HTTP/1.1"])
async def test_a_method_that_means_nothing_here_is_refused(line: bytes) -> None:
    async with served() as port:
        answer = await tell(port, line + b"\r\n" + HEAD + b"\r\n")
    assert b"HTTP/1.1 " not in answer.body
    assert answer.status in (200, 405)  # what is behind the lane here answers everything


@pytest.mark.parametrize(
    "coding",
    ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked ", "chunked\t",
     "\x0bchunked", "", "chunked;q=1", "chunked,", "chunked\r\nTransfer-Encoding: chunked",
     "chunked\r\nContent-Length: 3", "chunked\r\n identity"],
)  # fmt: skip
async def test_the_only_transfer_coding_is_chunked(coding: str) -> None:
    async with served() as port:
        head = post(b"", f"Transfer-Encoding: {coding}", length=-1)
        answer = await tell(port, head + b"3\r\na=1\r\n0\r\n\r\n")
        old = head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n"
        assert (await tell(port, old)).status == 400
    assert answer.problem()["status"] == 400
    assert b"HTTP/1.1 " not in answer.body


async def test_nothing_is_logged_of_streams_that_are_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
            await asyncio.sleep(0.002)
        await send({"type": "http.response.body", "body": b""})

    async with served(endless) as port:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for client in clients:
            client.sendall(get("/", close=False) * 2)
        await asyncio.sleep(0.1)
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        await asyncio.sleep(0.1)
    said = capfd.readouterr()
    assert "unhandled" not in said.out + said.err
    assert "unfinished" not in said.out + said.err


@pytest.mark.wire
def test_a_thousand_that_send_and_never_read_take_next_to_no_memory() -> None:
    """Each as much as the network between takes, up to 256 KiB."""
    flood = get("/slow", close=False) + get("/pid", close=False) * 7000
    with process() as running, ExitStack() as open_connections:
        running.pid()
        before = resident(running.popen.pid)
        for _ in range(1000):
            client = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            open_connections.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.send(flood[: 256 * 1024])
        assert running.ask().status == 200
        grown = resident(running.popen.pid) - before
    assert grown < 60, f"{grown} MB"


def resident(pid: int) -> float:
    """MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
