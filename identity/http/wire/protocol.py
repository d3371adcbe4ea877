"""HTTP/1.1 on the wire: one connection as a state machine, with limits on size, time and number.

`docs/connection.md` draws it. It stands in for uvicorn's httptools protocol and differs in five
things. It looks at a request only when the one before has been answered. What it answers by itself
is a problem document with a request id. Time limits are deadlines that one sweep a second looks
at, where uvicorn sets a timer a request. Head and body of an answer leave in one write, which alone
is worth a quarter of the requests per second that uvicorn reaches. And requests begin without a
task each (`eager`).
"""

import asyncio
import math
from enum import Enum, auto
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from identity.dataclass import dataclass
from identity.errors import IdentityError, Overloaded, RequestTimeout, header_lines
from identity.http.messages import WHOLE_ANSWERS
from identity.http.wire.cycle import Cycle, refusal
from identity.http.wire.eager import Beginner
from identity.http.wire.reader import RequestReader

READ_BYTES = 16 * 1024
"""What is read of one connection at once."""
HELD_BYTES = 8 * 1024
"""Where so much lies behind a request whose answer is awaited, nothing more is read. Where less
lies there, the client's leaving is noticed at once."""

_log = structlog.get_logger()
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: dict[str, Any] = {WHOLE_ANSWERS: {}}
_buffer = memoryview(bytearray(READ_BYTES))  # filled and emptied in one go, so one for all


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


class State(Enum):
    IDLE = auto()
    """Nothing has come of a next request."""
    HEAD = auto()
    """A part of its head has come."""
    BODY = auto()
    """Its head has come; it may have been answered already, the rest is then thrown away."""
    ANSWER = auto()
    """It has come, and its answer is awaited. What comes behind it stays as it came."""
    LINGER = auto()
    """All is said, what comes is thrown away. A reset would eat what the client has yet to read."""


IDLE, HEAD, BODY, ANSWER, LINGER = State  # as attributes they take as long as a function call


async def overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    status, headers, body = refusal(Overloaded(1, "too many connections"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LimitedProtocol(asyncio.BufferedProtocol):
    """One connection. `deadline` is in the event loop's time; infinite while the service works.
    `unread_until` likewise; infinite while the client reads."""

    transport: asyncio.Transport
    flow: FlowControl
    cycle: Cycle  # of the latest request whose head is complete

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
        self.loop = _loop or asyncio.get_running_loop()
        self.limits = limits
        self.state = IDLE
        self.deadline = math.inf
        self.unread_until = math.inf
        self.app: Any = config.loaded_app
        self._app_state = app_state
        self.server_state = server_state
        self._beginner = beginner
        self._outbox = beginner.outbox
        self._reader = RequestReader(limits.head_bytes)
        self._came = b""  # and has not been read, from `_at` on
        self._at = 0
        self._came_at = 0.0
        self._begun = False  # the first request
        self._body_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.server_state.connections.add(cast(Any, self))
        self.transport = transport
        self.flow = FlowControl(transport)
        self._server = get_local_addr(transport)
        self.client = get_remote_addr(transport)
        self.deadline = self.loop.time() + self.limits.head_seconds

    def connection_lost(self, error: Exception | None) -> None:
        self.server_state.connections.discard(cast(Any, self))
        self.state = LINGER
        self.deadline = self.unread_until = math.inf
        self._came = b""
        if self._begun:
            self.cycle.disconnect()
        self.flow.resume_writing()

    # --- bytes in ---------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_buffer[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        self._outbox.flush()  # before anything that this leads to
        if self.state is ANSWER:
            self._came, self._at = self._came[self._at :] + data, 0
            self._hold()
        elif self.state is not LINGER:
            self._read(data, 0)
            if self._came:
                self._hold()

    def _hold(self) -> None:
        """Leave as it is what came behind a request whose answer is awaited."""
        self._came_at = self.loop.time()
        if len(self._came) - self._at >= HELD_BYTES:
            self.flow.pause_reading()

    def _read(self, data: bytes, at: int) -> None:
        """Read `data` from `at` on, or up to the end of a request whose answer is to be awaited."""
        reader, length = self._reader, len(data)
        try:
            while at < length and self.state is not ANSWER:
                at = reader.read(data, at)
                if not reader.in_head:
                    self._go_on()
        except IdentityError as error:
            self._invalid(error)
            return
        if at < length:
            self._came, self._at = data, at
        elif self.state is BODY and self.deadline == math.inf:
            self._body_since = self.loop.time()
            self.deadline = self._body_since + self.limits.body_seconds
        elif self.state is IDLE and reader.begun:
            self.state = HEAD
            self.deadline = self.loop.time() + self.limits.head_seconds

    def _go_on(self) -> None:
        """The head of a request has come, or more of its body."""
        reader = self._reader
        if self.state is not BODY:
            self._request()
        cycle = self.cycle
        if reader.body:
            if not cycle.response_complete:
                cycle.add(reader.body)
                if len(cycle.body) > HIGH_WATER_LIMIT:
                    self.flow.pause_reading()
            reader.body = b""
            if not reader.complete:
                cycle.set()
        if not reader.complete:
            return
        cycle.more_body = False
        if cycle.response_complete:
            self._await_next()
        else:
            self.state = ANSWER
            self.deadline = math.inf
            cycle.set()

    def _request(self) -> None:
        """The head of a request has come."""
        self.state = BODY
        self.deadline = math.inf
        reader, state = self._reader, self.server_state
        raw_path, _, query = reader.target.partition(b"?")
        path = raw_path.decode("ascii")
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": reader.version,
            "method": reader.method,
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": reader.headers,
            "server": self._server,
            "client": self.client,
            "state": self._app_state.copy(),
            "extensions": _EXTENSIONS,
        }
        app, limit = self.app, self.limits.connections
        if len(state.connections) > limit or len(state.tasks) >= limit:
            app = overloaded
        self._begun = True
        self.cycle = cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            state.default_headers,
            reader.expects_continue,
            reader.keep_alive,
            self._response_complete,
            self._outbox,
        )
        self._beginner.add(self.loop, cycle.run_asgi(app), partial(self._attend, cycle))

    def _attend(self, cycle: Cycle, task: asyncio.Task[None]) -> None:
        self.server_state.tasks.add(task)
        cycle.finished = partial(self.server_state.tasks.discard, task)

    def _await_next(self) -> None:
        self.state = IDLE
        self.deadline = self.loop.time() + self.limits.idle_seconds
        self._reader.next()

    # --- bytes out --------------------------------------------------------------------------

    def eof_received(self) -> None:
        """The client is taken to have gone: the transport closes next."""
        self._outbox.flush()

    def shutdown(self) -> None:
        """The server stops: as soon as nothing is awaited."""
        if not self._begun or self.cycle.response_complete:
            self._close()
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self.unread_until = math.inf
        if self.transport.is_closing():
            self._await_reader()

    def _response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():  # as soon as all is read
            self._await_reader()
        elif not self.cycle.keep_alive:
            self._hang_up()
        elif self.state is BODY:  # the rest is read and thrown away
            self.flow.resume_reading()
            self.deadline = self.loop.time() + self.limits.body_seconds
        else:
            self._await_next()
            if self._came:
                self._read_held()
            else:
                self.flow.resume_reading()

    def _read_held(self) -> None:
        paused, held = self.flow.read_paused, self._came
        self._came = b""
        self._read(held, self._at)
        if self.state is HEAD and not paused:  # the client has had its time
            self.deadline = self._came_at + self.limits.head_seconds
        if not self._came or len(self._came) - self._at < HELD_BYTES:
            self.flow.resume_reading()

    def _hang_up(self) -> None:
        if self.state is BODY or self._came or self.flow.read_paused:
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        self._outbox.flush()
        self.state = LINGER
        self.deadline = math.inf
        self.transport.close()
        self._await_reader()

    def _linger(self) -> None:
        """Close, but read on for a moment: a reset would eat the answer while the client writes."""
        self._outbox.flush()
        self.state = LINGER
        self.deadline = self.loop.time() + self.limits.linger_seconds
        self._came = b""
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _await_reader(self) -> None:
        self.unread_until = self.loop.time() + self.limits.unread_seconds

    # --- what goes wrong --------------------------------------------------------------------

    def late(self, now: float) -> None:
        """The sweep found `deadline` or `unread_until` in the past."""
        self._outbox.flush()
        if self.state is LINGER or self.unread_until <= now:
            self.transport.abort()
        elif self.state is HEAD or not self._begun:
            self._refuse(RequestTimeout("the head of the request did not arrive in time"))
        elif self.state is IDLE:
            self._close()
        elif self.cycle.response_complete:
            self._linger()
        else:
            self._late_body(now)

    def _late_body(self, now: float) -> None:
        earned = self.limits.body_seconds + self._reader.body_bytes / self.limits.body_rate
        self.deadline = self._body_since + earned
        if self.flow.read_paused:  # it is we who are slow
            self.deadline = now + self.limits.body_seconds
        elif self.deadline <= now:
            self.deadline = math.inf
            self.cycle.timed_out = True
            self.cycle.set()

    def _invalid(self, error: IdentityError) -> None:
        """Answer `error` if it can be told whose answer it is; end the connection anyway. Requests
        before have been answered: none is read earlier."""
        if self.state is not BODY:
            self._refuse(error)
            return
        cycle = self.cycle
        answered = cycle.response_started
        if not cycle.response_complete:
            cycle.disconnect()
        if answered:  # a second answer would pass for that of another request
            self._linger()
        else:
            self._refuse(error)

    def _refuse(self, error: IdentityError) -> None:
        status, headers, body = refusal(error)
        if self._reader.is_head:
            body = b""
        address = self.client[0] if self.client else None
        _log.info("request refused", status=status, reason=error.detail, address=address)
        self._outbox.flush()
        self.transport.write(b"".join((STATUS_LINE[status], header_lines(headers), b"\r\n", body)))
        self._linger()
