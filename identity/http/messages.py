"""What a handler of a hot address is given, and what it answers."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope

from identity.errors import (
    Headers,
    InvalidRequest,
    PayloadTooLarge,
    header_lines,
)
from identity.http.forms import parse_form, require_form

BODY_LIMIT = 64 * 1024  # bytes
WHOLE_ANSWERS = "identity.whole"
"""ASGI extension of our own server, and the type of the message that it takes in place of a start
and a body: `status`, `lines` (the headers as they are sent, each with its line's end) and `body`.
What it is given is trusted: no line of it may come from outside unchecked."""
EDGE_SAYS = frozenset(
    {
        b"x-content-type-options", b"referrer-policy", b"x-frame-options",
        b"content-security-policy", b"strict-transport-security", b"vary", b"x-request-id",
        b"connection",
    }
)  # fmt: skip
"""What the edge and the server say of every answer; one that says some of it itself is sent with
more care."""
CHALLENGED = "identity.dpop"
"""Of a request's scope: the algorithms of DPoP proofs, where an error of class `BearerError` is to
ask for one."""
_ONE_ONLY = frozenset(
    {
        b"authorization", b"content-type", b"content-length", b"host", b"client-cert",
        b"client-cert-chain",
    }
)  # fmt: skip


class Disconnected(Exception):
    """The client went away before its request was complete; nobody waits for an answer."""


class Request:
    """One request as its handler sees it."""

    __slots__ = ("_fields", "_receive", "_repeats", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        headers = scope["headers"]
        self._fields: dict[bytes, bytes] = scope.get("fields") or dict(headers)
        self._repeats = len(self._fields) != len(headers)

    def header(self, name: bytes) -> bytes | None:
        """The value of `name` (lower case); repeated ones are joined as RFC 9110 §5.3 allows.

        Raises InvalidRequest where a repetition would be ambiguous, such as two Authorizations.
        """
        value = self._fields.get(name)
        if value is None or not self._repeats:
            return value
        values = [v for n, v in self.scope["headers"] if n == name]
        if len(values) > 1 and name in _ONE_ONLY:
            raise InvalidRequest(f"the header {name.decode().title()} is repeated")
        return b", ".join(values)

    async def body(self) -> bytes:
        """Raises PayloadTooLarge over `BODY_LIMIT`, and RequestTimeout through `receive`."""
        message = await self._receive()
        if not message.get("more_body") and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            if len(body) > BODY_LIMIT:
                raise PayloadTooLarge(f"at most {BODY_LIMIT} bytes")
            return body
        pieces, size = [], 0
        while message["type"] == "http.request":
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > BODY_LIMIT:
                raise PayloadTooLarge(f"at most {BODY_LIMIT} bytes")
            if not message.get("more_body"):
                return b"".join(pieces)
            message = await self._receive()
        raise Disconnected

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, for who can do with one that is longer than `body` takes: as long
        as the edge lets through (`large_bodies`)."""
        message = await self._receive()
        while message["type"] == "http.request":
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return
            message = await self._receive()
        raise Disconnected

    async def form(self, repeatable: frozenset[str] = frozenset()) -> dict[str, str]:
        """The body's parameters as `parse_form` reads them. Raises InvalidRequest."""
        require_form(self.header(b"content-type"))
        return parse_form(await self.body(), repeatable)

    @property
    def query(self) -> dict[str, str]:
        return parse_form(self.scope["query_string"])

    @property
    def segment(self) -> str:
        """The last segment of the path."""
        path: str = self.scope["path"]
        return path.rpartition("/")[2]

    @property
    def address(self) -> str | None:
        """The client's address, behind trusted proxies the one that they name."""
        client = self.scope.get("client")
        return client[0] if client else None


class Response:
    """An answer that may be sent any number of times. Not to be changed once made.

    Says `Cache-Control: no-store` unless `headers` say otherwise (RFC 6749 §5.1).
    """

    __slots__ = ("body", "lines", "plain", "status")
    whole = True
    """Whether all of it is there."""

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.body = body
        said = [*headers]
        if status != 304:
            said.append((b"content-length", b"%d" % len(body)))
        names = {name for name, _ in said}
        if b"cache-control" not in names:
            said.append((b"cache-control", b"no-store"))
        self.lines = header_lines(said)
        """The headers as they go over the wire."""
        self.plain = names.isdisjoint(EDGE_SAYS)
        """Whether the edge's own lines stand behind these as they are."""

    @property
    def headers(self) -> Headers:
        pairs = (line.split(b": ", 1) for line in self.lines.split(b"\r\n") if line)
        return [(name, value) for name, value in pairs]


class Source(Protocol):
    """Where a stream's bytes come from."""

    async def next(self) -> bytes | None:
        """What is to be sent next; None: that was all."""

    def close(self) -> None:
        """Nobody listens any more; `next`, if it waits, returns None. May come twice."""


class Stream(Response):
    """An answer that goes on until its source ends or the client leaves. Sent once."""

    __slots__ = ("source",)
    whole = False

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], source: Source) -> None:
        super().__init__(200, headers, b"")
        self.lines = self.lines.replace(b"content-length: 0\r\n", b"")
        self.source = source


_JSON = (b"content-type", b"application/json")
_JSON_LINES = b"content-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"


def json_bytes(body: bytes, lines: bytes = b"") -> Response:
    """A 200 whose JSON is ready: no header to look through. `lines`: more of them, rendered."""
    response = Response.__new__(Response)
    response.status = 200
    response.body = body
    response.lines = _JSON_LINES % len(body) + lines
    response.plain = True
    return response


def json_response(
    document: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Response:
    return Response(status, (_JSON, *headers), orjson.dumps(document))
