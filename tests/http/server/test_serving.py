"""The server on the wire and as a process: limits, refusals, signals, workers."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from identity.errors import RequestTimeout
from identity.http.edge import Edge
from identity.http.lane import Lane
from identity.http.messages import Request, Response, json_response
from identity.http.server import serve
from identity.http.server.server import Server, configured
from identity.http.server.sockets import hold
from identity.http.wire.lifespan import Lifespan
from identity.http.wire.protocol import LimitedProtocol, Limits
from identity.records.metrics import Metrics
from identity.records.metrics.exposition import CONTENT_TYPE
from identity.settings import Settings, SettingsError

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent.parent.parent


# --- the application under test, also run as a process of its own ----------------------------


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Plain ASGI behind the lane, with addresses that misbehave."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/unfinished":
        return
    if path == "/raises":
        raise RuntimeError("boom")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/half":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("boom")
    for piece in (b"one", b"", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    if os.environ.get("TEST_START") == "refused":
        raise SettingsError("IDENTITY_MASTER_KEY: is not the key of this database")
    if os.environ.get("TEST_START") == "broken":
        raise RuntimeError("boom")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if os.environ.get("TEST_STOP") == "slow":
        await asyncio.sleep(60)
    if os.environ.get("TEST_STOP") == "broken":
        raise RuntimeError("boom")
    await send({"type": "lifespan.shutdown.complete"})


def application(settings: Settings) -> Edge:
    if os.environ.get("TEST_START") == "unmade":
        raise SettingsError("IDENTITY_DATABASE_URL: points nowhere")
    metrics = Metrics()
    lane = Lane(behind)

    async def form(request: Request) -> Response:
        return json_response(await request.form())

    async def pid(request: Request) -> Response:
        metrics.login("success")
        return json_response({"pid": os.getpid(), "path": request.scope["path"]})

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.7)
        return json_response({"slow": True})

    async def endless(request: Request) -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def numbers(request: Request) -> Response:
        return Response(200, [(b"content-type", CONTENT_TYPE)], metrics.render())

    lane.add("POST", "/form", form, oauth=True)
    for path, handler in {
        "/pid": pid,
        "/p d": pid,
        "/slow": slow,
        "/endless": endless,
        "/metrics": numbers,
    }.items():
        lane.add("GET", path, handler, oauth=False)
    return Edge(lane, settings, metrics)


# --- in this process: the wire ---------------------------------------------------------------


@asynccontextmanager
async def served(app: Any = None, **limits: Any) -> AsyncIterator[int]:
    config = configured(Limits(**limits))
    config.app = app or application(Settings.of(log_level="error"))
    config.load()
    config.lifespan_class = Lifespan  # type: ignore[assignment]
    opened = asyncio.Event()
    server = Server(config, opened.set, None)
    sockets = hold("127.0.0.1", 0, shared=False)
    port = sockets[0].getsockname()[1]
    task = asyncio.create_task(server.serve(sockets))
    await opened.wait()
    try:
        yield port
    finally:
        server.should_exit = True
        await task


class Answer:
    def __init__(self, octets: bytes) -> None:
        head, _, self.body = octets.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        assert re.fullmatch(r"[0-9a-f-]{36}", self.headers["x-request-id"])
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


async def tell(port: int, *pieces: bytes, pause: float = 0.0) -> Answer:
    """Send `pieces` until the server has had enough, and read what it says until it closes."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        with suppress(ConnectionError):
            for piece in pieces:
                await loop.sock_sendall(client, piece)
                await asyncio.sleep(pause)
        said = b""
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(loop.sock_recv(client, 65536), 10):
                said += piece
    return Answer(said)


def get(path: str, *headers: str, close: bool = True) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode()


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [
        "POST /form HTTP/1.1",
        "Host: x",
        "Content-Type: application/x-www-form-urlencoded",
        *([f"Content-Length: {len(body) if length is None else length}"] if length != -1 else []),
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_an_ordinary_request_is_answered_with_its_id_and_a_date() -> None:
    async with served() as port:
        answer = await tell(port, post(b"a=1&b=%C3%A4", "X-Request-ID: mine-1"))
    assert answer.status == 200
    assert json.loads(answer.body) == {"a": "1", "b": "ä"}
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["date"].endswith("GMT")
    assert "server" not in answer.headers


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(get("/pid", close=False))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            assert b"pid" in await reader.readexactly(length)
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as port:
        answer = await tell(port, get("/slow", close=False) + get("/pid"))
    assert answer.body.index(b"slow") < answer.body.index(b"pid")


async def test_a_head_over_the_limit_is_431_at_once_whole_or_in_pieces() -> None:
    async with served() as port:
        whole = await tell(port, get("/pid", "X-Large: " + "x" * 17_000))
        many = await tell(port, get("/pid", *[f"X-{n}: {'x' * 90}" for n in range(200)]))
        pieces = await tell(port, get("/pid", "X: y")[:-4], *[b"x" * 4000] * 5, pause=0.01)
        address = await tell(port, get("/" + "x" * 17_000))
        fits = await tell(port, get("/pid", "X-Large: " + "x" * 15_000))
    assert [a.status for a in (whole, many, pieces, address, fits)] == [431, 431, 431, 431, 200]
    assert "16384" in whole.problem()["detail"]
    assert pieces.problem()


async def test_a_body_beside_a_small_head_is_not_taken_for_head() -> None:
    async with served() as port:
        answer = await tell(port, post(b"a=" + b"x" * 60_000))
    assert answer.status == 200


async def test_a_slow_head_is_408() -> None:
    async with served(head_seconds=0.1) as port:
        silent = await tell(port)
        begun = await tell(port, b"GET /pid HT")
        dripping = await tell(port, b"GET /pid HTTP/1.1\r\n", *[b"X: y\r\n"] * 15, pause=0.05)
    for answer in (silent, begun, dripping):
        assert answer.status == 408
        assert answer.problem()
        assert answer.headers["connection"] == "close"


async def test_a_slow_second_head_is_408_too() -> None:
    async with served(head_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/pid", close=False) + b"GET /pid")
        said = await reader.read()
        writer.close()
    assert said.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in said


async def test_a_slow_body_is_408_with_everything_an_answer_has() -> None:
    async with served(body_seconds=0.1) as port:
        absent = await tell(port, post(b"", length=10))
        dripping = await tell(port, post(b"a=", length=1000), *[b"x"] * 15, pause=0.05)
    for answer in (absent, dripping):
        assert answer.status == 408
        assert answer.problem()["title"] == RequestTimeout.title
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["connection"] == "close"


async def test_a_body_in_two_pieces_or_chunks_is_read() -> None:
    async with served() as port:
        pieces = await tell(port, post(b"a=1", length=6), b"&b=", b"", pause=0.02)
        chunks = await tell(
            port,
            post(b"", "Transfer-Encoding: chunked", length=-1),
            b"3\r\na=1\r\n",
            b"4;ext=1\r\n&b=2\r\n0\r\nAuthorization: Basic x\r\n\r\n",
            pause=0.02,
        )
    assert json.loads(pieces.body) == {"a": "1"}
    assert json.loads(chunks.body) == {"a": "1", "b": "2"}


async def test_a_body_over_the_limit_is_413_and_the_client_lives_to_read_it() -> None:
    async with served() as port:
        told = await tell(port, post(b"x" * 3_000_000))
        announced = await tell(port, post(b"", "Expect: 100-continue", length=50_000_000), b"")
        chunked = await tell(
            port,
            post(b"", "Transfer-Encoding: chunked", length=-1),
            *[b"4000\r\n" + b"x" * 0x4000 + b"\r\n"] * 5,
            b"0\r\n\r\n",
        )
    assert [a.status for a in (told, announced, chunked)] == [413, 413, 413]
    for answer in (told, announced, chunked):
        assert "65536" in answer.problem()["detail"]


async def test_an_expected_continue_is_sent_when_the_body_is_wanted() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", "Expect: 100-continue", length=3))
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"a=1")
        assert b"200 OK" in await reader.read()
        writer.close()


async def test_what_is_left_of_a_refused_body_is_read_for_a_while_only() -> None:
    async with served(body_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = post(b"", length=1_000_000).replace(b"Connection: close\r\n", b"")
        writer.write(request)
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert Answer(said).status == 413


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /pid HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pid HTTP/9.9\r\n\r\n",
        b"POST /form HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /form HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        post(b"zz\r\n", "Transfer-Encoding: chunked", length=-1),
    ],
)
async def test_what_is_not_http_is_a_400_problem(octets: bytes) -> None:
    async with served() as port:
        answer = await tell(port, octets)
    assert answer.status == 400
    assert answer.problem()["detail"] == "the request is not valid HTTP/1.1"


@pytest.mark.parametrize("hosts", [[], ["x", "x"], ["x", "y"]])
async def test_a_request_names_its_host_exactly_once(hosts: list[str]) -> None:
    """RFC 9112 §3.2: whoever stands in front might have read the other one."""
    lines = ["GET /pid HTTP/1.1", *(f"Host: {host}" for host in hosts), "", ""]
    async with served() as port:
        answer = await tell(port, "\r\n".join(lines).encode())
    assert answer.status == 400
    assert answer.problem()["detail"] == "a request has exactly one Host header"


async def test_http_1_0_knows_no_host() -> None:
    async with served() as port:
        assert (await tell(port, b"GET /pid HTTP/1.0\r\n\r\n")).status == 200
        both = await tell(port, get("/pid", close=False) + get("/pid"))
        assert both.body.count(b"HTTP/1.1 200") == 1, both.body  # the second: counted for each anew


async def test_nonsense_behind_a_request_does_not_spoil_its_answer() -> None:
    async with served() as port:
        answer = await tell(port, get("/slow", close=False) + b"\x00\x01nonsense\r\n\r\n")
    assert answer.status == 200
    body, _, behind = answer.body.partition(b"HTTP/1.1 ")
    assert body == b'{"slow":true}'
    assert behind.startswith(b"400 ")


class Wire:
    """A transport of which nothing leaves; what it was told to do, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def write(self, octets: bytes) -> None:
        self.told.append(octets.split(b"\r\n", 1)[0].decode())
        if b'{"held":true}' in octets:
            self.told[-1] += " held"

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.told or "abort" in self.told

    def can_write_eof(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    pause_reading = resume_reading

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else None


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (lambda c: c.data_received(b"\0nonsense\r\n\r\n"), ["HTTP/1.1 400 Bad Request"]),
        (lambda c: c.data_received(get("/pid")), ["HTTP/1.1 200 OK", "close"]),
        (
            lambda c: c.data_received(get("/unfinished")),
            ["HTTP/1.1 500 Internal Server Error", "close"],
        ),
        (lambda c: (c.eof_received(), c.transport.close()), ["close"]),  # as a transport does
        (lambda c: c.shutdown(), ["close"]),
        (lambda c: c.late(c.deadline), ["close"]),
    ],
    ids=["nonsense", "another request", "a failure", "the end", "a stop", "a time limit"],
)
async def test_an_answer_that_is_held_leaves_before_whatever_happens_next(
    happens: Callable[[LimitedProtocol], object], told: list[str]
) -> None:
    held: list[list[str]] = []
    wire = Wire()

    def then() -> None:
        held.append([*wire.told])
        happens(connection)

    (connection,) = connections(lambda: asyncio.get_running_loop().call_soon(then), wire)
    connection.data_received(get("/held", close=False))
    await rounds()
    assert held == [[]]
    assert wire.told == ["HTTP/1.1 200 OK held", *told]


async def test_requests_are_answered_in_order_where_the_next_begins_before_the_round_ends() -> None:
    wire = Wire()
    connection, another = connections(lambda: another.data_received(get("/pid")), wire, Wire())
    connection.data_received(get("/held", close=False) + get("/pid"))
    await rounds()
    assert wire.told == ["HTTP/1.1 200 OK held", "HTTP/1.1 200 OK", "close"]
    assert another.transport.told == ["HTTP/1.1 200 OK", "close"]


def connections(happens: Callable[[], object], *wires: Wire) -> list[Any]:
    """Of one server, whose `/held` is answered in a task, just after `happens`."""

    async def held(request: Request) -> Response:
        await asyncio.sleep(0)
        happens()
        return json_response({"held": True})

    edge = application(Settings.of(log_level="error"))
    edge._lane.add("GET", "/held", held, oauth=False)
    config = configured(Limits())
    config.app = edge
    config.load()
    config.loaded_app = edge
    state, made = ServerState(), []
    for wire in wires:
        made.append(cast(Any, config.http_protocol_class)(config, state, {}))
        made[-1].connection_made(wire)
    return made


async def rounds() -> None:
    """Several of the event loop's."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_chunks_that_hold_next_to_nothing_are_refused() -> None:
    async with served() as port:
        answer = await tell(
            port,
            post(b"", "Transfer-Encoding: chunked", length=-1),
            *[b"1;" + b"x" * 8000 + b"\r\na\r\n"] * 20,
        )
    assert answer.problem()["detail"] == "the chunks hold too little body"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/p%20d?x=1", "/p d"),
        ("http://elsewhere/pid?x", "/pid"),
        ("/pid#fragment", "/pid"),
    ],
)
async def test_the_path_is_found_in_every_form_of_target(target: str, path: str) -> None:
    async with served() as port:
        answer = await tell(port, get(target))
    assert json.loads(answer.body)["path"] == path


async def test_an_upgrade_is_answered_as_if_not_asked_for() -> None:
    async with served() as port:
        answer = await tell(
            port,
            get("/pid", "Upgrade: websocket", close=False).replace(
                b"Host", b"Connection: upgrade, close\r\nHost"
            ),
        )
    assert answer.status == 200


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_the_body_behind_a_wish_to_upgrade_is_a_body(protocol: str, pause: float) -> None:
    wish = ("Connection: keep-alive, Upgrade, HTTP2-Settings", f"Upgrade: {protocol}")
    hidden = b"a=1&b=" + get("/pid")
    head = post(b"", *wish, length=len(hidden)).replace(b"Connection: close\r\n", b"")
    async with served() as port:
        told = await tell(port, head, hidden, get("/slow"), pause=pause)
        chunked = post(b"", *wish, "Transfer-Encoding: chunked", length=-1)
        pieces = await tell(port, chunked, b"3\r\na=1\r\n", b"0\r\n\r\n", pause=pause)
    first, _, second = told.body.partition(b"HTTP/1.1 ")
    assert json.loads(first)["b"].startswith("GET /pid")
    assert second.startswith(b"200 OK") and second.endswith(b'{"slow":true}')
    assert b'pid":' not in second
    assert json.loads(pieces.body) == {"a": "1"}


async def test_a_request_behind_a_wish_to_upgrade_is_answered() -> None:
    wish = get("/pid", "Upgrade: h2c", "Connection: upgrade", close=False)
    async with served() as port:
        answer = await tell(port, wish * 3 + get("/slow"))
        tunnel = await tell(port, b"CONNECT /pid HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.body.count(b'"pid"') == 3
    assert answer.body.endswith(b'{"slow":true}')
    assert tunnel.status == 400


@pytest.mark.parametrize("pieces", [1, 500])
@pytest.mark.parametrize("close", [True, False])
async def test_a_connection_whose_client_reads_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, pieces: int, close: bool
) -> None:
    size, given_up = 16_000_000 // pieces, asyncio.Event()
    lost = LimitedProtocol.connection_lost

    def noted(self: LimitedProtocol, error: Exception | None) -> None:
        lost(self, error)
        given_up.set()

    monkeypatch.setattr(LimitedProtocol, "connection_lost", noted)

    async def generous(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        length = (b"content-length", b"%d" % (size * pieces))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        for left in reversed(range(pieces)):
            body = {"type": "http.response.body", "body": b"x" * size, "more_body": left > 0}
            await send(body)

    async with served(generous, unread_seconds=0.2, idle_seconds=0.2) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(get("/", close=close))
            await asyncio.wait_for(given_up.wait(), 5)


async def test_a_connection_whose_client_reads_slowly_is_kept() -> None:
    async def generous(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 12_000_000})

    async with served(generous, unread_seconds=1.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/"))
        size = 0
        while piece := await reader.read(1_000_000):
            size += len(piece)
            await asyncio.sleep(0.01)
        writer.close()
    assert size > 12_000_000


async def test_http_1_0_gets_its_body_without_chunks() -> None:
    async with served() as port:
        short = await tell(port, b"GET /pid HTTP/1.0\r\n\r\n")
        long = await tell(port, b"GET /streamed HTTP/1.0\r\n\r\n")
    assert short.status == 200
    assert long.body == b"onetwo"


async def test_a_streamed_answer_is_chunked_and_head_has_no_body() -> None:
    async with served() as port:
        streamed = await tell(port, get("/streamed"))
        head = await tell(port, get("/pid").replace(b"GET", b"HEAD"))
    assert streamed.body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert head.body == b""
    assert int(head.headers["content-length"]) > 10


async def test_more_connections_than_allowed_are_told_to_come_back() -> None:
    async with served(connections=2) as port:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        answer = await tell(port, get("/pid"))
        for _, writer in waiting:
            writer.close()
            await writer.wait_closed()
        assert answer.problem()["status"] == 503
        assert answer.headers["retry-after"] == "1"
        assert (await tell(port, get("/pid"))).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with served(idle_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/pid", close=False))
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert said.count(b"HTTP/1.1") == 1


async def test_a_failure_outside_the_edge_is_a_500_problem() -> None:
    async with served(behind) as port:
        for path in ("/unfinished", "/raises"):
            answer = await tell(port, get(path))
            assert answer.problem()["status"] == 500
        half = await tell(port, get("/half"))
    assert not half.body.endswith(b"0\r\n\r\n")


async def test_a_header_cannot_be_broken_into_two() -> None:
    async def split(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        headers = [(b"location", b"/a\r\nset-cookie: x=1")]
        return await send({"type": "http.response.start", "status": 302, "headers": headers})

    async with served(split) as port:
        answer = await tell(port, get("/"))
    assert answer.problem()["status"] == 500
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("sent", [b"four", b"fourteen bytes"])
async def test_a_body_of_another_length_than_promised_ends_the_connection(sent: bytes) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        headers = [(b"content-length", b"7")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return await send({"type": "http.response.body", "body": sent})

    async with served(wrong) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/"))
        assert b"200" not in await reader.read()
        writer.close()


# --- as a process ----------------------------------------------------------------------------


class Process:
    def __init__(self, popen: "subprocess.Popen[str]", port: int) -> None:
        self.popen, self.port = popen, port

    def ask(self, path: str = "/pid") -> Answer:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(get(path))
            said = b""
            while piece := connection.recv(65536):
                said += piece
        return Answer(said)

    def pid(self) -> int:
        pid: int = json.loads(self.ask().body)["pid"]
        return pid

    def pids(self, count: int) -> set[int]:
        """Ask until `count` different processes have answered."""
        seen: set[int] = set()
        deadline = time.monotonic() + 20
        while len(seen) < count:
            assert time.monotonic() < deadline, seen
            with suppress(OSError, IndexError):
                seen.add(self.pid())
        return seen

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds it took)"""
        begun = time.monotonic()
        self.popen.send_signal(number)
        return self.popen.wait(15), time.monotonic() - begun


@contextmanager
def process(workers: int = 1, **environment: str) -> Iterator[Process]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    popen = start(port, workers, **environment)
    deadline = time.monotonic() + 20
    while popen.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.02)
    try:
        yield Process(popen, port)
    finally:
        popen.kill()
        popen.wait()
        assert popen.stderr is not None
        popen.stderr.close()


def start(port: int, workers: int, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, __file__, str(port), str(workers)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(workers: int, **environment: str) -> list[str]:
    """The lines on stderr of a start that must exit with 1."""
    popen = start(0, workers, **environment)
    _, errors = popen.communicate(timeout=20)
    assert popen.returncode == 1
    return errors.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_asked_to_stop_exits_with_0(workers: int, number: int) -> None:
    with process(workers) as running:
        running.pids(workers)
        code, seconds = running.stop(number)
        assert code == 0
        assert seconds < 5


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_in_flight_is_finished_and_nothing_new_is_accepted(workers: int) -> None:
    with process(workers) as running:
        running.pids(workers)
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
            connection.sendall(get("/slow"))
            time.sleep(0.2)
            running.popen.send_signal(signal.SIGTERM)
            time.sleep(0.25)
            with pytest.raises(OSError, match="refused"):
                running.ask()
            assert Answer(connection.recv(65536)).status == 200
        assert running.popen.wait(10) == 0


@pytest.mark.slow
def test_what_never_ends_is_cut_off_within_ten_seconds() -> None:
    with process(2, TEST_STOP="slow") as running:
        running.pids(2)
        with socket.create_connection(("127.0.0.1", running.port), timeout=15) as connection:
            connection.sendall(get("/endless"))
            time.sleep(0.2)
            code, seconds = running.stop()
            answer = Answer(connection.recv(65536))
        assert (code, answer.status) == (0, 503)
        assert answer.headers["retry-after"] == "1"
        assert seconds < 10


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("unmade", "identity: IDENTITY_DATABASE_URL: points nowhere"),
        ("refused", "identity: IDENTITY_MASTER_KEY: is not the key of this database"),
    ],
)
def test_a_refused_start_says_one_line_and_exits_with_1(
    workers: int, start: str, line: str
) -> None:
    assert refused(workers, TEST_START=start) == [line]


def test_a_broken_start_tells_the_log_why_and_exits_with_1() -> None:
    logged, line = refused(2, TEST_START="broken")
    assert "RuntimeError: boom" in json.loads(logged)["exception"]
    assert line == "identity: startup failed: boom"


def test_a_broken_shutdown_is_logged_and_exits_with_1() -> None:
    with process(TEST_STOP="broken") as running:
        running.pid()
        assert running.stop()[0] == 1
        assert running.popen.stderr is not None
        assert "shutdown failed" in running.popen.stderr.read()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_one_clear_line(workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    with process(workers) as running:
        running.pids(workers)
        settings = Settings.of(log_level="error")
        assert serve(settings, application, "127.0.0.1", running.port, workers) == 1
    assert capfd.readouterr().err == (
        f"identity: cannot listen on 127.0.0.1:{running.port} (IDENTITY_HOST, IDENTITY_PORT): "
        "Address already in use\n"
    )


def test_a_dead_worker_is_replaced_and_its_numbers_stay() -> None:
    with process(2) as running:
        before = running.pids(2)
        victim = min(before)
        time.sleep(1.2)  # the workers publish their numbers once a second
        asked = logins(running)
        os.kill(victim, signal.SIGKILL)
        after = running.pids(2)
        while victim in after or len(after) < 2:
            after = running.pids(2)
        assert after != before
        assert logins(running) >= asked
        assert running.stop()[0] == 0


def logins(running: Process) -> float:
    found = re.search(
        rb'identity_logins_total\{outcome="success"\} ([\d.]+)', running.ask("/metrics").body
    )
    assert found
    return float(found[1])


def test_whichever_worker_is_scraped_tells_the_whole_truth() -> None:
    with process(2) as running:
        running.pids(2)
        for _ in range(40):
            running.pid()
        time.sleep(1.2)
        assert len({logins(running) for _ in range(10)}) == 1


def test_connections_spread_over_the_workers() -> None:
    with process(2) as running:
        running.pids(2)
        counts = Counter(running.pid() for _ in range(200))
    assert min(counts.values()) > 50


def test_workers_do_not_outlive_a_killed_parent() -> None:
    with process(2) as running:
        pids = running.pids(2)
        running.popen.kill()
        running.popen.wait()
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


if __name__ == "__main__":
    sys.exit(
        serve(
            Settings.of(
                log_level="error", log_format="json", http=os.environ.get("TEST_HTTP", "own")
            ),
            application,
            "127.0.0.1",
            int(sys.argv[1]),
            int(sys.argv[2]),
        )
    )
