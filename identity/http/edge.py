"""What every request and answer passes, whichever lane it takes: request id, client address,
limits, security headers, CORS, the request line and the numbers.
"""

import asyncio
import re
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from identity.errors import (
    Headers,
    IdentityError,
    PayloadTooLarge,
    ServerError,
    Unavailable,
    header_lines,
    render,
)
from identity.http.elsewhere import Elsewhere, Readers
from identity.http.lane import Lane, deliver
from identity.http.messages import BODY_LIMIT, EDGE_SAYS, WHOLE_ANSWERS, Disconnected, Response
from identity.http.proxies import MAY_NAME_CERTIFICATES, Proxies
from identity.opaque import new_id
from identity.records import logs
from identity.records.audit import Origin, origin
from identity.records.metrics import Metrics
from identity.records.redacting import looks_secret
from identity.settings import Settings
from identity.store import deadlines

if TYPE_CHECKING:
    from identity.records.tracing.spans import Tracing

_API_POLICY = b"default-src 'none'; frame-ancestors 'none'"

_log = structlog.get_logger()
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # never sent; the request line and the metrics need some status


class Edge:
    """ASGI: the whole service.

    `lifespan`: what is told of start and stop, `lane` unless given.
    `large_bodies`: path to bytes, where more than `BODY_LIMIT` may come.
    `readers`: path to whose pages may read it, beside `IDENTITY_CORS_ORIGINS`.
    """

    def __init__(
        self,
        lane: Lane,
        settings: Settings,
        metrics: Metrics,
        *,
        lifespan: ASGIApp | None = None,
        large_bodies: Mapping[str, int] = MappingProxyType({}),
        readers: Mapping[str, Readers] = MappingProxyType({}),
    ) -> None:
        self._lane = lane
        self._lifespan = lifespan or lane
        self._metrics = metrics
        self._large_bodies = large_bodies
        self._proxies = Proxies(settings.server.trusted_proxies)
        self._certifying = Proxies(settings.certificates.certificate_proxies)
        self._headers: Headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-frame-options", b"DENY"),
            (b"content-security-policy", _API_POLICY),
        ]
        if settings.issuer.startswith("https:"):
            self._headers.append((b"strict-transport-security", b"max-age=31536000"))
        self._elsewhere = Elsewhere(lane, settings.server.cors_origins, readers)
        if settings.server.cors_origins:
            self._headers.append((b"vary", b"Origin"))
        self.tracing: Tracing | None = None
        self.state: Mapping[str, Any] = {}
        """What the server has given for the time that it serves (`serving.lifespan`)."""
        self._leaving = asyncio.Event()
        self._named = frozenset(name for name, _ in self._headers)
        assert self._named <= EDGE_SAYS
        self.lines = header_lines(self._headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.state = scope.get("state", {})
            self._leaving = self.state.get("leaving", self._leaving)
            async with self._metrics.published():
                await self._lifespan(scope, receive, send)
            logs.flush()
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        started = perf_counter()
        deadlines.arrived()
        fields = scope["fields"] = dict(scope["headers"])
        request_id = _request_id(fields.get(b"x-request-id"))
        if self._certifying.trusted:
            scope[MAY_NAME_CERTIFICATES] = self._certifying.handed_on(scope)
        if self._proxies.trusted:
            self._proxies.unmask(scope)
        client = scope.get("client")
        address = client[0] if client else None
        trace = None if self.tracing is None else self.tracing.begin(fields)
        who = Origin(request_id, address, trace=trace)
        before = origin.set(who)
        exchange = _Exchange(self, scope, send, request_id)
        page = fields.get(b"origin")
        try:
            if b"content-length" in fields or b"transfer-encoding" in fields:
                receive = self._limited(scope, fields, receive)
            if page is None:
                response, app = await self._lane.answer(scope, receive), self._lane.app
            else:
                response = await self._elsewhere.answer(scope, receive, page)
                app = self._elsewhere.app
            if response is None:
                await asyncio.sleep(0)  # frameworks want a task of their own (`wire.eager`)
                await app(scope, receive, exchange.send)
            elif (
                response.whole
                and WHOLE_ANSWERS in scope.get("extensions", ())
                and not self._leaving.is_set()
            ):
                await exchange.send_whole(response)
            else:
                await deliver(response, scope, receive, exchange.send)
            if exchange.held:
                await exchange.release()
        except Disconnected:
            pass
        except BaseException as error:
            await self._failed(exchange, error)
            if not isinstance(error, Exception):
                raise
        finally:
            origin.reset(before)
            # Of a stream the time to its first byte: how long it was followed says nothing.
            seconds = scope.get("answered", perf_counter()) - started
            method, path, status = scope["method"], scope["path"], exchange.status
            route = scope["route"].path if "route" in scope else _routeless(fields)
            told = trace.end(method, route, status, seconds, request_id) if trace else None
            self._metrics.request(method, route, status, seconds, request_id, told)
            logs.access(method, route, path, status, seconds, request_id, address, who.actor, told)

    def _limited(self, scope: Scope, fields: dict[bytes, bytes], receive: Receive) -> Receive:
        """`receive`, made to count where the body does not say how long it is."""
        length = fields.get(b"content-length", b"")
        if b"transfer-encoding" not in fields and len(length) <= 4:
            return receive
        limit = self._large_bodies.get(scope["path"], BODY_LIMIT)
        if len(length) > 18 or (length and int(length) > limit):
            raise PayloadTooLarge(f"at most {limit} bytes")
        return _counted(scope, receive, limit) if b"transfer-encoding" in fields else receive

    async def _failed(self, exchange: "_Exchange", error: BaseException) -> None:
        if isinstance(error, IdentityError):
            await exchange.refuse(error)
        elif isinstance(error, asyncio.CancelledError):  # stopping, and has waited long enough
            await exchange.refuse(Unavailable(1, "the service is restarting"))
        elif isinstance(error.__cause__, IdentityError) and exchange.begun:
            # Starlette's words for a refusal in the middle of an answer, which ends there.
            path, why = exchange.scope["path"], str(error.__cause__)
            _log.warning("answer cut off", path=path, reason=error.__cause__.audit or why)
        else:
            from starlette.requests import ClientDisconnect  # whoever raises it has it

            if not isinstance(error, ClientDisconnect):
                _log.error("unhandled exception", path=exchange.scope["path"], exc_info=error)
                await exchange.refuse(ServerError())

    def complete(self, headers: Headers, request_id: str) -> Headers:
        """`headers` and those that every answer carries; what an answer says itself stands."""
        present = dict(headers)
        if present.keys().isdisjoint(self._named):
            complete = [*headers, *self._headers, (b"x-request-id", request_id.encode())]
        else:
            ours = {**dict(self._headers), b"x-request-id": request_id.encode()}
            complete = [*headers, *((n, v) for n, v in ours.items() if n not in present)]
        if b"cache-control" not in present:
            complete.append((b"cache-control", b"no-store"))
        if self._leaving.is_set() and b"connection" not in present:
            complete.append((b"connection", b"close"))  # who asks again is to ask somebody else
        return complete


class _Exchange:
    """One answer on its way out."""

    __slots__ = ("_edge", "_replaced", "_send", "held", "request_id", "scope", "status")

    def __init__(self, edge: Edge, scope: Scope, send: Send, request_id: str) -> None:
        self._edge = edge
        self._send = send
        self._replaced = False
        self.scope = scope
        self.request_id = request_id
        self.status = _CLIENT_GONE
        self.held: list[Message] = []

    @property
    def begun(self) -> bool:
        """Whether an answer is under way."""
        return self.status != _CLIENT_GONE

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            scope = self.scope
            # FastAPI turns what goes wrong while it reads a body into a 400; we know better.
            if "failure" in scope:
                await self.refuse(scope["failure"])
                self._replaced = True
                return
            status = message["status"]
            # Starlette answers text/plain before it tells us of an unhandled exception.
            if status == 500:
                self.held = [message]
                return
            self.status = status
            message["headers"] = self._edge.complete(message["headers"], self.request_id)
        elif self._replaced:
            return
        elif self.held:
            self.held.append(message)
            return
        await self._send(message)

    async def send_whole(self, response: Response) -> None:
        """In one message, its headers written already."""
        if "failure" in self.scope:
            await self.refuse(self.scope["failure"])
            return
        edge = self._edge
        if response.plain:
            request_id = self.request_id.encode()
            lines = b"%b%bx-request-id: %b\r\n" % (response.lines, edge.lines, request_id)
        else:
            lines = header_lines(edge.complete(response.headers, self.request_id))
        await self._send(
            {
                "type": WHOLE_ANSWERS,
                "status": response.status,
                "lines": lines,
                "body": response.body,
            }
        )
        self.status = response.status

    async def release(self) -> None:
        start, *rest = self.held
        self.status = start["status"]
        start["headers"] = self._edge.complete(start["headers"], self.request_id)
        for message in (start, *rest):
            await self._send(message)

    async def refuse(self, error: IdentityError) -> None:
        """Answer with `error`, unless an answer is already under way."""
        if self.begun:
            return
        self.status, headers, body = render(error, oauth=False)
        headers.append((b"content-length", b"%d" % len(body)))
        if self.scope["method"] == "HEAD":
            body = b""
        headers = self._edge.complete(headers, self.request_id)
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _request_id(given: bytes | None) -> str:
    if given is not None and _SANE_ID.fullmatch(given):
        text = given.decode()
        if not looks_secret(text):
            return text
    return new_id()


def _routeless(fields: dict[bytes, bytes]) -> str:
    """Never the path itself: every path that anybody tries would be a time series of its own."""
    return "preflight" if b"access-control-request-method" in fields else "unmatched"


def _counted(scope: Scope, receive: Receive, limit: int) -> Receive:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            scope["failure"] = PayloadTooLarge(f"at most {limit} bytes")
            raise scope["failure"]
        return message

    return counted
