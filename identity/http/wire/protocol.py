"""HTTP/1.1 on the wire: uvicorn's httptools protocol with limits on size, time and number.

Four things differ from uvicorn's. What it answers by itself is a problem document with a request
id. Time limits are deadlines that one sweep a second looks at, where uvicorn sets a timer a
request. Head and body of an answer leave in one write, which alone is worth a quarter of the
requests per second that uvicorn reaches. And requests begin without a task each (`eager`).
"""

import asyncio
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import httptools
import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from identity.errors import (
    HeadersTooLarge,
    IdentityError,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    header_lines,
)
from identity.http.messages import WHOLE_ANSWERS
from identity.http.wire.cycle import Cycle, refusal
from identity.http.wire.eager import Beginner

_log = structlog.get_logger()
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: dict[str, Any] = {WHOLE_ANSWERS: {}}


@dataclass(frozen=True)
class Limits:
    head_bytes: int = 16 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    body_rate: int = 16 * 1024
    """Bytes that buy a long body one second more."""
    idle_seconds: float = 60.0
    linger_seconds: float = 2.0
    unread_seconds: float = 60.0
    """How long an answer waits for whoever reads nothing of it."""
    connections: int = 10_000


async def overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    status, headers, body = refusal(Overloaded(1, "too many connections"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `deadline` is in the event loop's time; infinite while the service works.
    `unread_until` likewise; infinite while the client reads."""

    cycle: Cycle  # type: ignore[assignment]  # of the latest request whose head is complete

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        beginner: Beginner,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self._beginner = beginner
        self._outbox = beginner.outbox
        self.deadline = math.inf
        self.unread_until = math.inf
        self._begun = False
        self._hosts = 0
        self._in_head = True
        self._head_fed = 0  # bytes of an incomplete head, chunks before this one
        self._chunk = 0
        self._body_since = 0.0
        self._body_bytes = 0
        self._body_fed = 0  # with chunk sizes, extensions and trailers
        self._refused = False
        self._problem: IdentityError | None = None
        self._plain_head = b""  # of a request that wished for an upgrade

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadline = self.loop.time() + self.limits.head_seconds

    # --- bytes in ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._outbox.flush()  # before anything that this leads to
        if self._refused:
            return
        self._chunk = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._invalid(self._problem or InvalidRequest("the request is not valid HTTP/1.1"))
            return
        if self._in_head:
            self._head_fed += self._chunk
            if self._head_fed > self.limits.head_bytes:
                self._invalid(HeadersTooLarge(f"at most {self.limits.head_bytes} bytes"))
            elif self.deadline == math.inf or self._head_fed == self._chunk:
                self.deadline = self.loop.time() + self.limits.head_seconds
        elif self.cycle.more_body:
            self._body_fed += self._chunk
            if self._body_fed > 8 * self._body_bytes + 4 * self.limits.head_bytes:
                self._invalid(InvalidRequest("the chunks hold too little body"))
            elif self.deadline == math.inf:
                self._body_since = self.loop.time()
                self.deadline = self._body_since + self.limits.body_seconds

    def _feed(self, data: bytes) -> None:
        """Answered as if no upgrade had been asked for (RFC 9110 §7.8). The parser takes all that
        follows such a head for another protocol; read as HTTP it is a body, which must not pass
        for a request of its own: so the head is read again without the wish.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                head, self._plain_head = self._plain_head, b""
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._head_fed = 0
        self._hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer; nobody here has asked for one (RFC 9110 §6.5.1)
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"host":
            self._hosts += 1
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._head_fed + self._chunk > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.head_bytes:
                self._problem = HeadersTooLarge(f"at most {self.limits.head_bytes} bytes")
                raise ValueError("head too large")
        parser = self.parser
        version = parser.get_http_version()
        if self._hosts != 1 and (self._hosts or version != "1.0"):  # RFC 9112 §3.2
            self._problem = InvalidRequest("a request has exactly one Host header")
            raise ValueError("no single host")
        if parser.should_upgrade():
            self._plain_head = self._without_upgrade(parser.get_method(), version)
            return
        self._in_head = False
        self._body_bytes = self._body_fed = 0
        self.deadline = math.inf
        if self.url.startswith(b"/") and b"#" not in self.url:
            raw_path, _, query = self.url.partition(b"?")
        else:
            url = httptools.parse_url(self.url)
            raw_path, query = url.path or b"/", url.query or b""
        path = raw_path.decode("ascii")
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "server": self.server,
            "client": self.client,
            "state": self.app_state.copy(),
            "extensions": _EXTENSIONS,
        }
        self.scope = scope
        app: Any = self.app
        limit = self.limits.connections
        if len(self.connections) > limit or len(self.tasks) >= limit:
            app = overloaded
        idle = not self._begun or self.cycle.response_complete
        self._begun = True
        self.cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
            self._outbox,
        )
        if idle:
            self._begin(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cast(Any, self.cycle), app))

    def _without_upgrade(self, method: bytes, version: str) -> bytes:
        if method == b"CONNECT":
            raise ValueError("no proxy")
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                kept = [w for w in value.split(b",") if w.strip().lower() != b"upgrade"]
                value = b",".join(kept)
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._body_bytes += len(body)
        if cycle.response_complete:
            return
        cycle.add(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._plain_head:
            return  # it is read again
        self.deadline = math.inf
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:
            self._await_next()
        else:
            cycle.set()

    def _begin(self, cycle: Cycle, app: Any) -> None:
        self._beginner.add(self.loop, cycle.run_asgi(app), partial(self._attend, cycle))

    def _attend(self, cycle: Cycle, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        cycle.finished = partial(self.tasks.discard, task)

    # --- bytes out --------------------------------------------------------------------------

    def eof_received(self) -> None:
        self._outbox.flush()  # the transport closes next
        super().eof_received()

    def shutdown(self) -> None:
        self._outbox.flush()
        super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_until = math.inf
        if self.transport.is_closing():
            self._await_reader()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():  # as soon as all is read
            self._await_reader()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = cast(Any, self.pipeline.pop())
            self._begin(cycle, app)
        elif self.cycle.more_body and not self.cycle.keep_alive:
            self._linger()
        elif self.cycle.more_body:  # the rest is read and thrown away
            self.deadline = self.loop.time() + self.limits.body_seconds
        elif not self._in_head:
            self._await_next()

    def _await_next(self) -> None:
        self.deadline = self.loop.time() + self.limits.idle_seconds

    def _await_reader(self) -> None:
        self.unread_until = self.loop.time() + self.limits.unread_seconds

    # --- what goes wrong --------------------------------------------------------------------

    def late(self, now: float) -> None:
        """The sweep found `deadline` or `unread_until` in the past."""
        self._outbox.flush()
        cycle = self.cycle
        if self._refused or self.unread_until <= now:
            self.transport.abort()
        elif self._in_head:
            self._refuse(RequestTimeout("the head of the request did not arrive in time"))
        elif cycle.response_complete:
            self.deadline = math.inf
            self.transport.close()
            self._await_reader()
        else:
            earned = self.limits.body_seconds + self._body_bytes / self.limits.body_rate
            self.deadline = self._body_since + earned
            if self.flow.read_paused:  # it is we who are slow
                self.deadline = now + self.limits.body_seconds
            elif self.deadline <= now:
                self.deadline = math.inf
                cycle.timed_out = True
                cycle.set()

    def _invalid(self, error: IdentityError) -> None:
        """Answer `error` if it can still be told whose answer it is; end the connection anyway."""
        cycle = self.cycle
        if not self._begun or cycle.response_complete:
            self._refuse(error)
        elif not cycle.more_body:  # an earlier request is still being answered
            self._refused = True
            cycle.keep_alive = False
        elif cycle.response_started:
            self._refused = True
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.set()
            self._refuse(error)

    def _refuse(self, error: IdentityError) -> None:
        status, headers, body = refusal(error)
        _log.info("request refused", status=status, reason=error.detail, address=self._peer())
        self.flow.resume_reading()
        self.transport.write(b"".join((STATUS_LINE[status], header_lines(headers), b"\r\n", body)))
        self._linger()

    def _linger(self) -> None:
        """Close, but read on for a moment: a reset would eat the answer while the client writes."""
        self._refused = True
        self.deadline = self.loop.time() + self.limits.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _peer(self) -> str | None:
        return self.client[0] if self.client else None
