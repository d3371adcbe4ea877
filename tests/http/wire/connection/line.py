"""One connection without a network: bytes go in as a test cuts them, the clock is the test's."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from uvicorn.server import ServerState

from identity.errors import RequestTimeout
from identity.http.messages import WHOLE_ANSWERS
from identity.http.server.server import configured
from identity.http.wire.eager import Beginner
from identity.http.wire.protocol import LimitedProtocol, Limits, State

ROUNDS = 12  # of the event loop, in which everything happens that waits for nothing else


class Clock:
    """The event loop, with a time of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class Transport:
    """Hands on what the client sends, as the kernel does: not while reading is paused."""

    def __init__(self, line: "Line") -> None:
        self.line = line
        self.sent = b""
        self.ended = False  # FIN
        self.gone = False  # the connection is lost
        self.reads = True
        self.unread = b""

    def arrive(self, octets: bytes) -> None:
        self.unread += octets
        while self.unread and self.reads and not self.gone:
            buffer = self.line.protocol.get_buffer(-1)
            piece, self.unread = self.unread[: len(buffer)], self.unread[len(buffer) :]
            buffer[: len(piece)] = piece
            self.line.protocol.buffer_updated(len(piece))

    def write(self, octets: bytes) -> None:
        if self.gone or self.ended:
            raise RuntimeError("the handler is closed")  # as uvloop's do
        self.sent += octets

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def reset(self) -> None:
        self._lose(ConnectionResetError())

    def _lose(self, error: Exception | None) -> None:
        if not self.gone:
            self.gone = self.ended = True
            self.line.loop.call_soon(self.line.protocol.connection_lost, error)

    def is_closing(self) -> bool:
        return self.gone

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        if not self.reads:
            self.reads = True
            self.line.loop.call_soon(self.arrive, b"")

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else None


class Line:
    """A connection to an application that says what it was asked, at once or once it is let go."""

    def __init__(self, limits: Limits) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(self.loop)
        self.errors: list[BaseException] = []
        config = configured(limits)
        config.loaded_app, config.loaded = self.application, True
        self.gate: asyncio.Future[None] = self.loop.create_future()
        self.protocol = LimitedProtocol(
            config,
            ServerState(),
            {},
            cast(Any, self.clock),
            limits=limits,
            beginner=Beginner(),
        )
        self.transport = Transport(self)
        self.protocol.connection_made(cast(Any, self.transport))

    async def settle(self, rounds: int = ROUNDS) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """As it passes for the server, which looks at its connections once in a while."""
        until = self.clock.now + seconds
        while self.clock.now < until and not self.transport.gone:
            self.clock.now += 2.0
            if min(self.protocol.deadline, self.protocol.unread_until) <= self.clock.now:
                self.protocol.late(self.clock.now)
                await self.settle()

    def let_go(self) -> None:
        """All that wait, and whoever comes later waits anew."""
        self.gate.set_result(None)
        self.gate = self.loop.create_future()

    async def finish(self) -> None:
        """Let go until nobody waits."""
        for _ in range(40):
            if self.protocol.state is not State.ANSWER and not self.protocol.server_state.tasks:
                return
            self.let_go()
            await self.settle()

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await answer(scope, receive, send, lambda: self.gate)
        except Exception as error:
            self.errors.append(error)
            raise


Waits = Callable[[], Awaitable[Any]]


async def answer(scope: Any, receive: Any, send: Any, wait: Waits) -> None:
    """Say what was asked: `/early` before the body has come, `/slow` once `wait` is over,
    `/stream` in pieces with as many waits."""
    try:
        await _answer(scope, receive, send, wait)
    except RequestTimeout as late:
        await _say(send, late.status, b"late")


async def _answer(scope: Any, receive: Any, send: Any, wait: Waits) -> None:
    path, body = scope["path"], b""
    more = path != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    said = told(scope["method"], scope["raw_path"], scope["headers"], body)
    if path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for at in range(0, len(said), 40):
            piece = said[at : at + 40]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await wait()
        await send({"type": "http.response.body", "body": b""})
        return
    if path == "/slow":
        await wait()
    await _say(send, 200, said)


async def _say(send: Any, status: int, body: bytes) -> None:
    lines = b"content-length: %d\r\n" % len(body)
    await send({"type": WHOLE_ANSWERS, "status": status, "lines": lines, "body": body})


def told(method: str, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """What the application says it was asked. Upgrades are left out: they are read away. So is how
    the body came, whose coding h11 writes in small letters."""
    unread = {b"connection", b"upgrade", b"transfer-encoding"}
    fields = repr([(name, value) for name, value in headers if name not in unread])
    digest = hashlib.md5(fields.encode() + b"\0" + body).hexdigest()
    return json.dumps([method, path.decode(), len(body), digest]).encode()
