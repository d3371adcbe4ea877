"""What h11, which shares no line with httptools, reads in the same bytes."""

import re
from dataclasses import dataclass
from enum import Enum

import h11

HEAD_BYTES = 16 * 1024


class End(Enum):
    """What is at the end of what was sent."""

    NOTHING = "nothing of a next request"
    HEAD = "a part of a head"
    BODY = "a request without its end"
    CLOSED = "the last request that this connection takes"
    BROKEN_HEAD = "what is no head of a request"
    BROKEN_BODY = "a request whose body is broken"


@dataclass
class Request:
    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    octets: bytes
    """The request as it came, with what lies behind it where it has not come whole."""
    body: bytes = b""

    @property
    def continues(self) -> bool:
        """Whether it may be told to go on (RFC 9110 §10.1.1)."""
        expects = (b"expect", b"100-continue") in [(n, v.lower()) for n, v in self.headers]
        return self.version == "1.1" and expects


def read(octets: bytes) -> tuple[list[Request], End, bytes]:
    """The requests, the last of them without its end for `End.BODY` and `End.BROKEN_BODY`; what
    is behind them; and where that is a head, what there is of it."""
    requests: list[Request] = []
    while True:
        octets = octets.removeprefix(b"\r\n")  # RFC 9112 §2.2; h11 does not know it
        if not octets:
            return requests, End.NOTHING, b""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        connection.receive_data(octets)
        event: object = None
        try:
            while not isinstance(event, h11.EndOfMessage):
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    return requests, End.BODY if _in_body(connection) else End.HEAD, octets
                if isinstance(event, h11.Request):
                    requests.append(_request(event, octets))
                elif isinstance(event, h11.Data):
                    requests[-1].body += event.data
        except h11.RemoteProtocolError:
            end = End.BROKEN_BODY if _in_body(connection) else End.BROKEN_HEAD
            return requests, end, octets
        rest = connection.trailing_data[0]
        requests[-1].octets = octets[: len(octets) - len(rest)]
        octets = rest
        connection.send(h11.Response(status_code=400, headers=[(b"content-length", b"0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.MUST_CLOSE:
            return requests, End.CLOSED, b""


def _in_body(connection: h11.Connection) -> bool:
    return connection.our_state is h11.SEND_RESPONSE


def _request(event: h11.Request, octets: bytes) -> Request:
    version, headers = event.http_version.decode(), [*event.headers]
    return Request(event.method.decode(), event.target, version, headers, octets)


def _lines(request: Request) -> bytes:
    return request.octets.partition(b"\r\n\r\n")[0]


def _trailers(request: Request) -> bytes:
    return re.split(rb"\r\n0+(?:;[^\r\n]*)?\r?\n", request.octets)[-1]


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for known, value in request.headers if known == name]


_CHUNKED = re.compile(rb"(?im)^transfer-encoding:")
_HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::\d*)?"
_TARGET = rb"(?s)/[\x21-\x7e]*|(?i:https?)://(?=[^:/?#])" + _HOST + rb"(?:[/?#].*)?"
_CONTROL = rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_EXTENSION = rb'(?:;?[!#$%&\'*+.^`|~\w-]++(?:=(?:[!#$%&\'*+.^`|~\w-]++|"[^"\r\n]*"))?)*+'

STRICTER = {
    # what we refuse though h11 takes it: why
    "a head that is too large": lambda r: len(_lines(r)) + 4 > HEAD_BYTES,
    "a line that goes on in the next": lambda r: re.search(rb"\r?\n[ \t]", _lines(r)),
    "a line's end without CR": lambda r: re.search(rb"(?<!\r)\n", _lines(r) + _trailers(r)),
    "a method that nobody has registered": lambda r: r.method not in _METHODS,
    "CONNECT: this is no proxy": lambda r: r.method == "CONNECT",
    "another version": lambda r: r.version not in ("1.0", "1.1"),
    "a host that others read otherwise": lambda r: any(
        not re.fullmatch(_HOST, host) for host in _values(r, b"host")
    ),
    "a target that is neither path nor address": lambda r: (
        not re.fullmatch(_TARGET, r.target) and (r.method, r.target) != ("OPTIONS", b"*")
    ),
    "Content-Length twice, though the same": lambda r: (
        len(re.findall(rb"(?im)^content-length:", _lines(r))) > 1
        or b"," in b"".join(re.findall(rb"(?im)^content-length:(.*)$", _lines(r)))
    ),
    "chunked, but not spelt just so": lambda r: any(
        value.lower() != b"chunked\r"
        for value in re.findall(rb"(?im)^transfer-encoding: *(.*)$", _lines(r) + b"\r\n")
    ),
    "chunked in HTTP/1.0": lambda r: r.version == "1.0" and _CHUNKED.search(_lines(r)),
    "chunked with Content-Length": lambda r: (
        _CHUNKED.search(_lines(r)) and re.search(rb"(?im)^content-length:", _lines(r))
    ),
    "Transfer-Encoding twice": lambda r: len(_CHUNKED.findall(_lines(r))) > 1,
    "a control character": lambda r: re.search(_CONTROL, _lines(r)),
    "a control character in a chunk's extension": lambda r: re.search(
        rb"\r\n[0-9A-Fa-f]+;[^\r\n]*" + _CONTROL, r.octets
    ),
    "a chunk's extension that is none": lambda r: re.search(
        rb"\r\n[0-9A-Fa-f]+;(?!" + _EXTENSION + rb"\r?\n)", r.octets
    ),
    "spaces behind a chunk's size": lambda r: re.search(
        rb"\r\n[0-9A-Fa-f]+[ \t]+[\r;]", r.octets
    ),
    "a trailer about the body's length": lambda r: re.search(
        rb"(?i)\r\n(content-length|transfer-encoding):", r.octets.partition(b"\r\n\r\n")[2]
    ),
}  # fmt: skip
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}


def stricter(request: Request) -> list[str]:
    """Why we refuse a request that h11 takes."""
    return [why for why, fits in STRICTER.items() if fits(request)]


def laxer(octets: bytes) -> bool:
    """What we take though h11 refuses it: any number of zeros before a chunk's size. They say
    nothing else, and `RequestReader` takes only so many bytes that are no body."""
    return bool(re.search(rb"\n0{20}[0-9A-Fa-f]+[\r;]", octets))


_ENDS = [
    b"\r\n\r\n", b"\n\r\n", b"\r\nHost: x\r\n\r\n", b" HTTP/1.1\r\nHost: x\r\n\r\n", b": x\r\n\r\n",
    b": x\r\nHost: x\r\n\r\n", b"1\r\nHost: x\r\n\r\n", b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"x: x\r\nHost: x\r\n\r\n", b"\r\n", b"\n", b"\r\n0\r\n\r\n", b"0\r\n\r\n", b"\n0\r\n\r\n",
]  # fmt: skip


def beyond_repair(octets: bytes, requests: list[Request]) -> bool:
    """Whether what is unfinished at the end of `octets` can be refused at once: however it goes
    on, either h11 or we shall not take it."""
    unfinished = len(requests)
    for end in _ENDS:
        completed, what, _ = read(octets + end)
        whole = completed[:-1] if what in (End.BODY, End.BROKEN_BODY) else completed
        if len(whole) >= unfinished and not stricter(whole[unfinished - 1]):
            return False
    return True
