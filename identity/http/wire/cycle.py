"""One request and its answer on a connection, as ASGI sees them.

Stands in for uvicorn's RequestResponseCycle, which takes three times as long to make;
`LimitedProtocol` feeds it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from identity.errors import (
    Headers,
    IdentityError,
    RequestTimeout,
    ServerError,
    header_lines,
    render,
)
from identity.http.messages import WHOLE_ANSWERS
from identity.http.wire.eager import Outbox
from identity.opaque import new_id

_log = structlog.get_logger()


def refusal(error: IdentityError) -> tuple[int, Headers, bytes]:
    """What the protocol answers by itself, before or beside the edge; the connection ends."""
    status, headers, body = render(error, oauth=False)
    headers = [header for header in headers if header[0] != b"connection"]
    headers += [
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", new_id().encode()),
        (b"connection", b"close"),
    ]
    return status, headers, body


class Cycle:
    """`body` and `more_body` are what has come and not been read; `set` after any change.
    `finished` is called once the application has returned."""

    __slots__ = (
        "_arrived", "_chunked", "_date", "_head", "_left", "_outbox", "_until_close", "_waiter",
        "body",
        "disconnected", "finished", "flow", "keep_alive", "more_body", "on_response",
        "response_complete", "response_started", "scope", "timed_out", "transport",
        "waiting_for_100_continue",
    )  # fmt: skip

    finished: Callable[[], None]

    def __init__(
        self,
        scope: Any,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: Headers,
        expect_100_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
        outbox: Outbox,
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.on_response = on_response
        self._outbox = outbox
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self.body: bytes | bytearray = b""
        self.more_body = True
        self.timed_out = False
        self.response_started = False
        self.response_complete = False
        self._date = default_headers
        self._arrived = False  # something that `receive` has not yet told
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._left = 0  # bytes of the body still to be sent
        self._chunked = False
        self._until_close = False  # no length, no chunks: the connection's end ends the body
        self.finished = _nothing

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self._gone:
                _log.error("the application left its answer unfinished")
                await self._give_up()
        except asyncio.CancelledError:
            # Whoever does not read would keep a connection that closes in good order.
            self._wire.abort() if self.flow.write_paused else self._wire.close()
        except BaseException as error:
            _log.error("unhandled exception outside the edge", exc_info=error)
            await self._give_up()
        finally:
            self.finished()
            self.on_response = self.finished = _nothing  # they hold what holds this

    @property
    def _wire(self) -> asyncio.Transport:
        """The transport, once what is held for it has left."""
        self._outbox.flush()
        return self.transport

    @property
    def _gone(self) -> bool:
        """Whether nobody can be told anything any more."""
        return self.disconnected or self.transport.is_closing()

    def disconnect(self) -> None:
        self.disconnected = True
        self.set()

    def set(self) -> None:
        self._arrived = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def add(self, body: bytes) -> None:
        """`set` has to follow."""
        self.waiting_for_100_continue = False
        if not self.body:
            self.body = body  # most often the only piece
        else:
            if self.body.__class__ is bytes:
                self.body = bytearray(self.body)
            self.body += body

    async def receive(self) -> Any:
        if self.waiting_for_100_continue and not self._gone:
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete and not self.timed_out:
            if self.more_body:  # what comes behind it is not for now
                self.flow.resume_reading()
            while not self._arrived:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            self._arrived = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self.timed_out:
            failure = RequestTimeout("the body of the request did not arrive in time")
            self.scope["failure"] = failure
            raise failure
        body, self.body = bytes(self.body), b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            return
        kind = message["type"]
        if kind == WHOLE_ANSWERS and not self.response_started:
            self._write_whole(message["status"], message["lines"], message["body"])
        elif kind == "http.response.body" and self.response_started:
            if self.response_complete:
                raise RuntimeError("the answer was already complete")
            self._write_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            self._start(message)
        else:
            raise RuntimeError(f"unexpected {kind}")

    def _write_whole(self, status: int, said: bytes, body: bytes) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.scope["method"] == "HEAD":
            body = b""
        ending = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        answer = b"".join((STATUS_LINE[status], said, _lines(self._date), ending, body))
        if self.keep_alive:
            self._outbox.write(self.transport, answer)
        else:  # what is closed next cannot wait
            self._wire.write(answer)
        self._complete()

    def _start(self, message: Message) -> None:
        status, headers = message["status"], message.get("headers", [])
        fields = dict(headers)
        said = header_lines(headers)
        self.response_started = True
        self.waiting_for_100_continue = False
        ending = b"\r\n"
        if b"close" in fields.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            ending = b"connection: close\r\n\r\n"
        length = fields.get(b"content-length")
        bodiless = self.scope["method"] == "HEAD" or status in (204, 304)
        self._chunked = length is None and not bodiless
        if length is not None:
            self._left = 0 if bodiless else int(length)
        elif self.scope["http_version"] == "1.0":
            self._until_close = self._chunked
        elif self._chunked and b"transfer-encoding" not in fields:
            ending = b"transfer-encoding: chunked\r\n" + ending
        self._head = b"".join((STATUS_LINE[status], said, header_lines(self._date), ending))

    def _write_body(self, body: bytes, more_body: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif not self._chunked:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more_body):
                raise RuntimeError("the answer's body is not as long as its Content-Length")
        elif not self._until_close:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (
                b"" if more_body else b"0\r\n\r\n"
            )
        self._wire.write(self._head + body)
        self._head = b""
        if not more_body:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        if self._waiter is not None:  # somebody waits for the client to leave
            self.set()
        self.on_response()

    async def _give_up(self) -> None:
        if self.response_started or self._gone:
            self._wire.close()
        else:
            status, headers, body = refusal(ServerError())
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})


_dated: tuple[Headers, bytes] = ([], b"")


def _lines(date: Headers) -> bytes:
    """uvicorn makes a new list once a second."""
    global _dated
    if _dated[0] is not date:
        _dated = date, header_lines(date)
    return _dated[1]


def _nothing() -> None:
    pass
