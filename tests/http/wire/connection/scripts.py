"""What clients send: requests good, odd and broken, cut anywhere, while time passes."""

from dataclasses import dataclass
from enum import Enum, auto

from hypothesis import strategies as st

PATHS = [b"/whole", b"/slow", b"/stream", b"/early", b"/whole?q=1", b"/"]
ODD_LINES = [
    b"GET  /whole HTTP/1.1", b"GET /whole  HTTP/1.1", b"GET\t/whole HTTP/1.1", b"GET /whole",
    b" GET /whole HTTP/1.1", b"GET /whole HTTP/2.0", b"GET /whole HTTP/0.9", b"GET / HTTP/1.2",
    b"GET /whole http/1.1", b"get /whole HTTP/1.1", b"FOO /whole HTTP/1.1", b"GET /whole HTTP/1.1 ",
    b"CONNECT x:1 HTTP/1.1", b"TRACE /whole HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1",
    b"GET http://x/whole HTTP/1.1", b"GET http://x HTTP/1.1", b"GET http://u@x/ HTTP/1.1",
    b"GET ftp://x/ HTTP/1.1", b"GET x:1 HTTP/1.1", b"GET http:///x HTTP/1.1",
    b"GET https://[::1]:80?x HTTP/1.1", b"GET whole HTTP/1.1", b"GET /\xff HTTP/1.1",
    b"GET /whole#x HTTP/1.1", b"GET /\x00 HTTP/1.1", b"PRI * HTTP/2.0", b"SOURCE / ICE/1.0",
    b"GET / RTSP/1.0", b"\r\nGET /whole HTTP/1.1", b"\nGET /whole HTTP/1.1", b"GET /w\rx HTTP/1.1",
    b"\x16\x03\x01\x02\x00", b"", b"HEAD /stream HTTP/1.1", b"HEAD /whole HTTP/1.1",
    b"GET /whole HTTP/1.1\nX: y", b"DELETE /slow HTTP/1.1", b"GET /" + b"x" * 17_000 + b" HTTP/1.1",
]  # fmt: skip
ODD_FIELDS = [
    b"Host: x", b"Host: a, b", b"Host: a b", b"Host: a/b@c", b"Host: a,b", b"Host: [::1]:8",
    b"Host: a:b", b"Host: %41", b"Host: u@h", b"Host : x", b"Host:", b"Host: x \t", b"Host: a%zz",
    b"Host: a\\b", b"Host: a?b", b"Host: a#b", b"Host: \xffx", b'Host: "x"', b"Host: <x>",
    b": x", b"X", b"X : y", b" X: y", b"X: y\r\n folded", b"X: y\r\n\tfolded", b"X: a\x00b",
    b"X: a\rb", b"X: a\nb", b"X: a\x01b", b"X: a\x7fb", b"X: a\xffb", b"X\xff: y", b"X(: y",
    b"X\x00: y", b"X: ", b"X:y", b"X:\t y \t", b"X-Large: " + b"x" * 17_000,
    b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: +3", b"Content-Length: -1",
    b"Content-Length: 3, 3", b"Content-Length: 3 3", b"Content-Length: 0x3", b"Content-Length: 03",
    b"Content-Length: 3 ", b"Content-Length:", b"Content-Length: 1_0", b"Content-Length: \xb2",
    b"Content-Length: 99999999999999999999999", b"Content-Length: 3\r\nContent-Length: 3",
    b"Content-Length: 3\r\nContent-Length: 4", b"Content_Length: 3",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked ", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked;q=1", b"Transfer_Encoding: chunked", b"Transfer-Encoding : x",
    b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: 200-ok", b"Expect: 100-continue,x",
    b"Connection: close", b"Connection: keep-alive, Close", b"Connection: x-close, keep-alive",
    b"Connection: keep-alive", b"Connection: close, upgrade\r\nUpgrade: h2c",
    b"Proxy-Connection: close", b"Connection: upgrade\r\nUpgrade: websocket", b"Upgrade: h2c",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
    b"Trailer: Connection", b"TE: trailers", b"Connection: transfer-encoding",
]  # fmt: skip
CHUNKS = [
    b"3\r\nabc\r\n", b"3\r\nabc\r\n", b"0a\r\n0123456789\r\n", b"A;x=y\r\n0123456789\r\n",
    b"4\r\n\r\n\r\n\r\n", b"2\r\n\r\n\r\n", b'3;x="a b"\r\nabc\r\n', b"00000003\r\nabc\r\n",
    b"9\r\nGET / HTT\r\n", b"6\r\n0\r\n\r\nG\r\n", b"40\r\n" + b"x" * 64 + b"\r\n",
]  # fmt: skip
ODD_CHUNKS = [
    b"3 \r\nabc\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b"3\nabc\r\n", b"3\r\nabc\n",
    b"3\r\nabc", b"3\r\nabcd\r\n", b"g\r\n", b"-1\r\n", b"\r\n", b"3;\nabc\r\n",
    b"3;x\nb\r\nabc\r\n",
    b"3\rabc\r\n", b"FFFFFFFFFFFFFFFFFF\r\nabc\r\n", b"3;x=\x00\r\nabc\r\n", b"3\r\n\r\nabc\r\n",
    b"3;;;\r\nabc\r\n", b"3 ;x\r\nabc\r\n", b'3;x="\r\nabc\r\n', b"1;" + b"x" * 9000 + b"\r\na\r\n",
    b"0" * 100 + b"3\r\nabc\r\n", b"3;x=y;z\r\nabc\r\n",
]  # fmt: skip
TRAILERS = [
    b"X: y\r\n", b"Connection: close\r\n", b"Content-Length: 9\r\n", b"Host: b\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Proxy-Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X : y\r\n", b" X: y\r\n", b"X: y\n", b"X\r\n",
    b"X: a\x00b\r\n", b"Upgrade: h2c\r\n", b"Authorization: Basic x\r\n",
]  # fmt: skip


class Then(Enum):
    """What happens behind a piece."""

    NOTHING = auto()
    ROUNDS = auto()
    TIME = auto()  # less than any limit
    LET_GO = auto()


class Last(Enum):
    """What happens when all has been sent."""

    SLOW = auto()  # time passes, then the answers are let go
    LET_GO = auto()  # the answers are let go, then time passes
    EOF = auto()
    RESET = auto()


@dataclass
class Script:
    pieces: list[tuple[bytes, Then]]
    last: Last

    @property
    def octets(self) -> bytes:
        return b"".join(piece for piece, _ in self.pieces)


def _one_in(count: int) -> st.SearchStrategy[bool]:
    return st.integers(0, count - 1).map(lambda number: number == count - 1)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    kind = draw(st.integers(0, 3))
    path = draw(st.sampled_from(PATHS))
    version = b"1.0" if draw(_one_in(12)) else b"1.1"
    line = b"%b %b HTTP/%b" % (b"POST" if kind else b"GET", path, version)
    if draw(_one_in(10)):
        line = draw(st.sampled_from(ODD_LINES))
    fields = [] if draw(_one_in(20)) else [b"Host: x"]
    body = b""
    if kind == 1:
        body = draw(st.sampled_from([b"", b"abc", b"GET / HTTP/1.1\r\n\r\n", b"x" * 3000]))
        fields.append(b"Content-Length: %d" % len(body))
    elif kind > 1:
        fields.append(b"Transfer-Encoding: chunked")
        body = draw(chunked())
    if draw(_one_in(3)):
        odd = draw(st.lists(st.sampled_from(ODD_FIELDS), min_size=1, max_size=2))
        at = draw(st.integers(0, len(fields)))
        fields[at:at] = odd
    end = draw(st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b""]))
    return b"".join((line, b"\r\n", *(field + b"\r\n" for field in fields), end, body))


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    pieces = draw(st.lists(st.sampled_from(CHUNKS), max_size=3))
    if draw(_one_in(5)):
        pieces.append(draw(st.sampled_from(ODD_CHUNKS)))
    last = draw(
        st.sampled_from([b"0\r\n"] * 12 + [b"0;x=y\r\n", b"000\r\n", b"0\n", b"0 \r\n", b""])
    )
    trailers = draw(st.sampled_from([*[b""] * 15, *TRAILERS]))
    end = draw(st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b""]))
    return b"".join((*pieces, last, trailers, end))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    octets = b"".join(draw(st.lists(requests(), min_size=1, max_size=4)))
    if draw(_one_in(3)):
        octets = octets[: draw(st.integers(0, len(octets)))]
    cuts = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=5)))
    if draw(_one_in(20)) and len(octets) < 500:
        cuts = list(range(1, len(octets)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    then = draw(st.lists(st.sampled_from(Then), min_size=7, max_size=7))
    last = draw(st.sampled_from([Last.LET_GO, Last.LET_GO, Last.SLOW, Last.EOF, Last.RESET]))
    return Script([(piece, then[n % 7]) for n, piece in enumerate(pieces)], last)
