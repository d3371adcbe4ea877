"""Requests out of a connection's bytes, one at a time, by httptools.

httptools cannot pause: what it is fed it reads, to the last of a thousand pipelined requests. So it
is never fed more than one: a head or chunks end at an empty line, any other body after its length.
And it takes what others read in another way, which here is refused, for the one in front may be
among them (RFC 9112 §11.2).
"""

import re
from typing import Any, NoReturn

import httptools

from identity.errors import HeadersTooLarge, IdentityError, InvalidRequest

EMPTY_LINE = b"\r\n\r\n"
NOT_HTTP = "the request is not valid HTTP/1.1"
_AUTHORITY = rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
_HOST = re.compile(_AUTHORITY)  # RFC 3986 §3.2.2, without the comma, which would join two of them
_ABSOLUTE = re.compile(rb"(?i:https?)://(?=[^/?#:])" + _AUTHORITY + rb"((?:[/?].*)?)", re.DOTALL)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"expect"})


class RequestReader:
    """`read` until `complete`, then `next`. While `in_head`, the request is not yet known; after
    that are `method`, `version`, `target`, `headers` and the others. Whoever reads takes `body`.
    """

    __slots__ = (
        "_chunked", "_fed", "_head", "_head_limit", "_host", "_hosts", "_length", "_named",
        "_parser", "_plain_head", "_problem", "_tail",
        "body", "body_bytes", "complete", "expects_continue", "headers", "in_head", "keep_alive",
        "method", "target", "version",
    )  # fmt: skip

    def __init__(self, head_bytes: int) -> None:
        self._head_limit = head_bytes
        self._host = b""  # the latest that was found to be one
        self._parser = self._new_parser()
        self.next()

    def next(self) -> None:
        """Await a new request."""
        self.in_head = True
        self.complete = False
        self.method = ""
        self.version = ""
        self.target = b""  # as it came, but for the address in front of a path
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = True
        self.expects_continue = False
        self.body = b""
        self.body_bytes = 0
        self._head = b""  # as it came
        self._tail = b""  # its last three bytes, or those of the chunks
        self._hosts = 0
        self._named = b""
        self._length = 0  # what is left of a body of known length
        self._chunked = False
        self._fed = 0  # of a body with chunk sizes, extensions and trailers
        self._plain_head = b""  # of a request that wished for an upgrade
        self._problem: IdentityError | None = None

    @property
    def begun(self) -> bool:
        """Whether anything has come of the request."""
        return bool(self._head)

    @property
    def is_head(self) -> bool:
        """Whether no answer may have a body, as far as what has come says so."""
        return self._head.startswith((b"HEAD ", b"\r\nHEAD "))

    def read(self, data: bytes, at: int) -> int:
        """Read from `data[at]` on, to the end of the request or of a part of it; where to go on.
        Raises IdentityError."""
        if self.in_head or self._chunked:
            end = data.find(EMPTY_LINE, at) + 4
            if self._tail or end < 4:
                end = self._end(data, at, end)
        else:
            end = min(at + self._length, len(data))
        piece = data if end - at == len(data) else data[at:end]
        in_head = self.in_head
        if in_head:
            self._head += piece
            if len(self._head) > self._head_limit:
                raise HeadersTooLarge(f"at most {self._head_limit} bytes")
        else:
            self._fed += end - at
            self._length -= end - at
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._read_without_upgrade()
        except httptools.HttpParserError:
            raise self._problem or InvalidRequest(NOT_HTTP) from None
        if self._fed > 8 * self.body_bytes + 4 * self._head_limit and not self.complete:
            raise InvalidRequest("the chunks hold too little body")
        if in_head and self._length and not self.in_head and end < len(data):
            return self.read(data, end)
        return end

    def _end(self, data: bytes, at: int, end: int) -> int:
        """Where the next empty line ends that lies in `data`, or began before it; its length where
        there is none. `end`: of the first that lies in `data`, below 4 where there is none."""
        tail = self._tail
        begun_before = (tail + data[at : at + 3]).find(EMPTY_LINE)
        if begun_before >= 0:
            end = at + begun_before + 4 - len(tail)
        elif end < 4:
            end = len(data)
        self._tail = (tail + data[max(at, end - 3) : end])[-3:]
        return end

    # --- the parser -------------------------------------------------------------------------

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # Whether the connection goes on is decided by the head alone, and here: by itself the
        # parser would also go by a trailer and by Proxy-Connection, and fall silent.
        parser.set_dangerous_leniencies(lenient_keep_alive=True)
        return parser

    def _read_without_upgrade(self) -> None:
        """Read as if no upgrade had been asked for (RFC 9110 §7.8). The parser takes all that
        follows such a head for another protocol; read as HTTP it is a body, which must not pass
        for a request of its own: so the head is read again without the wish.
        """
        head = self._plain_head
        self.next()
        self._head = head
        self._parser = self._new_parser()
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserError:
            raise self._problem or InvalidRequest(NOT_HTTP) from None

    def on_url(self, url: bytes) -> None:
        if not self.in_head:
            raise ValueError("a second request at once")
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer; nobody here has asked for one (RFC 9110 §6.5.1)
        name = name.lower()
        if name in _FRAMING:
            self._take_framing(name, value)
        if value[-1:] <= b" ":  # what follows a value is no part of it (RFC 9112 §5.1)
            value = value.rstrip(b" \t")
        if name == b"host":
            self._hosts += 1
            self._named = value
        self.headers.append((name, value))

    def _take_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._length = int(value)  # digits: the parser has seen to it
        elif name == b"connection":
            if b"close" in map(bytes.strip, value.lower().split(b",")):
                self.keep_alive = False
        elif name == b"expect":
            self.expects_continue = value.strip().lower() == b"100-continue"
        elif self._chunked or value.lower() != b"chunked":
            self._refuse("the only Transfer-Encoding is chunked, once")
        else:
            self._chunked = True

    def on_headers_complete(self) -> None:
        parser, target = self._parser, self.target
        method = parser.get_method()
        line = b"%b %b HTTP/1.1\r\n" % (method, target)
        if self._head.startswith(line):
            self.version = "1.1"
        else:
            self._check_line(line)
        if self._hosts != 1 and (self._hosts or self.version != "1.0"):  # RFC 9112 §3.2
            self._refuse("a request has exactly one Host header")
        if self._named != self._host:
            self._check_host()
        if parser.should_upgrade():
            if method == b"CONNECT":  # this is no proxy
                self._refuse()
            self._plain_head = self._without_upgrade(
                line[:-3] + self.version[-1:].encode() + b"\r\n"
            )
            return
        if target[:1] != b"/" or b"#" in target:
            self._check_target(method)
        self.method = method.decode()
        if self.expects_continue:
            self.expects_continue = self._chunked or self._length > 0
        self.in_head = False
        self._tail = b""

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        self.complete = not self._plain_head

    # --- what the parser takes and we do not ------------------------------------------------

    def _refuse(self, why: str = NOT_HTTP) -> NoReturn:
        self._problem = InvalidRequest(why)
        raise ValueError(why)

    def _check_line(self, line: bytes) -> None:
        """The other request lines that may be. One empty line may come before (RFC 9112 §2.2);
        HTTP/1.0 knows no chunks and no `100 Continue`, and its connections end."""
        head = self._head.removeprefix(b"\r\n")
        if head.startswith(line):
            self.version = "1.1"
        elif head.startswith(line[:-3] + b"0\r\n") and not self._chunked:
            self.version = "1.0"
            self.keep_alive = self.expects_continue = False
        else:
            self._refuse()

    def _check_host(self) -> None:
        """RFC 9112 §3.2: whoever stands in front might have read another one."""
        if not _HOST.fullmatch(self._named):
            self._refuse("the Host header is not a host and a port")
        self._host = self._named

    def _check_target(self, method: bytes) -> None:
        """RFC 9112 §3.2: a path, an address of which the path counts, or an asterisk."""
        target, _, _ = self.target.partition(b"#")
        if target[:1] != b"/" and (target, method) != (b"*", b"OPTIONS"):
            found = _ABSOLUTE.fullmatch(target)
            if not found:
                self._refuse("the target of the request is neither a path nor an address")
            target = found[1] if found[1][:1] == b"/" else b"/" + found[1]
        self.target = target

    def _without_upgrade(self, line: bytes) -> bytes:
        fields = [line]
        for name, value in self.headers:
            if name == b"connection":
                kept = [w for w in value.split(b",") if w.strip().lower() != b"upgrade"]
                value = b",".join(kept)
            if name != b"upgrade":
                fields.append(b"%b: %b\r\n" % (name, value))
        return b"".join([*fields, b"\r\n"])
