"""A connection in each of its states: what is too slow, too much, or gone."""

import pytest

from identity.http.wire.protocol import HELD_BYTES, READ_BYTES, Limits, State
from tests.http.wire.connection.line import Line

pytestmark = pytest.mark.anyio

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
WHOLE, SLOW, STREAM = (GET % path for path in (b"/whole", b"/slow", b"/stream"))
POST = b"POST /whole HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n"
CHUNKED = POST % b"Transfer-Encoding: chunked"
EARLY = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"


@pytest.fixture
async def line() -> Line:
    return Line(Limits())


def statuses(line: Line) -> list[str]:
    parts = line.transport.sent.split(b"HTTP/1.1 ")[1:]
    return [part[:3].decode() for part in parts]


@pytest.mark.parametrize(
    ("sent", "drop", "state", "answers"),
    [
        (b"", b"", State.IDLE, ["408"]),
        (WHOLE, b"", State.IDLE, ["200"]),
        (b"GET /who", b"x", State.HEAD, ["408"]),
        (WHOLE + b"GET / HTTP/1.1\r\nX: y", b"y", State.HEAD, ["200", "408"]),
        (POST % b"Content-Length: 99999", b"x", State.BODY, ["408"]),
        (CHUNKED, b"1;x=y\r\nz\r\n", State.BODY, ["408"]),
        (CHUNKED + b"3;", b"x", State.BODY, ["408"]),
        (CHUNKED + b"3\r\nabc\r\n0\r\nX: y", b"y", State.BODY, ["408"]),
        (EARLY, b"", State.BODY, ["200"]),
        (b"nonsense\r\n\r\n", b"x", State.LINGER, ["400"]),
    ],
)
async def test_who_drips_is_cut_off_in_every_state(
    line: Line, sent: bytes, drop: bytes, state: State, answers: list[str]
) -> None:
    if sent:
        line.transport.arrive(sent)
    await line.settle()
    assert line.protocol.state is state
    for _ in range(70):
        if not line.transport.gone and not line.transport.ended and drop:
            line.transport.arrive(drop)
        await line.pass_time(1)
    assert line.transport.gone
    assert statuses(line) == answers


async def test_a_head_that_is_slow_behind_a_request_under_way_waits_for_its_answer(
    line: Line,
) -> None:
    line.transport.arrive(SLOW + b"GET /who")
    await line.settle()
    await line.pass_time(30)
    assert line.transport.sent == b""
    line.let_go()
    await line.settle()
    await line.pass_time(1)
    assert statuses(line) == ["200", "408"]


@pytest.mark.parametrize(
    "behind", [b"\0nonsense\r\n\r\n", b"GET /slow\r\n\r\n", CHUNKED + b"zz\r\n"]
)
async def test_an_error_behind_a_stream_waits_for_its_end(line: Line, behind: bytes) -> None:
    line.transport.arrive(STREAM + behind)
    await line.settle()
    assert statuses(line) == ["200"]
    await line.finish()
    stream, _, rest = line.transport.sent.partition(b"0\r\n\r\n")
    assert stream.count(b"HTTP/1.1 ") == 1
    assert rest.startswith(b"HTTP/1.1 400 ")


async def test_what_is_pipelined_is_left_in_the_network(line: Line) -> None:
    flood = SLOW * 20_000
    line.transport.arrive(flood)
    await line.settle()
    held = len(line.protocol._came) - line.protocol._at
    assert held <= HELD_BYTES + READ_BYTES
    assert len(line.transport.unread) >= len(flood) - HELD_BYTES - 2 * READ_BYTES
    for _ in range(3):
        line.let_go()
        await line.settle()
    assert statuses(line) == ["200"] * 3
    assert len(line.protocol._came) - line.protocol._at <= HELD_BYTES + READ_BYTES


async def test_six_hundred_requests_and_a_part_of_another_are_answered(line: Line) -> None:
    line.transport.arrive(WHOLE * 600 + WHOLE[:-9])
    for _ in range(700):
        await line.settle(2)
    assert statuses(line) == ["200"] * 600
    line.transport.arrive(WHOLE[-9:])
    await line.settle()
    assert statuses(line) == ["200"] * 601
    assert not line.transport.gone


@pytest.mark.parametrize("behind", [b"", WHOLE, WHOLE * 1000, b"GET /who", CHUNKED])
@pytest.mark.parametrize(
    "sent", [b"GET", SLOW, STREAM, CHUNKED, CHUNKED + b"1\r\n", EARLY, WHOLE, b"\0"]
)
async def test_a_connection_may_be_reset_in_every_state(
    line: Line, sent: bytes, behind: bytes
) -> None:
    line.transport.arrive(sent + behind)
    await line.settle(3)
    line.transport.reset()
    line.let_go()  # an answer begins to be written while the loss is not yet known
    await line.settle()
    await line.finish()
    assert line.errors == []
    assert line.protocol.server_state.connections == set()
    assert line.protocol.server_state.tasks == set()
    assert line.protocol.deadline == line.protocol.unread_until == float("inf")


async def test_a_trailer_does_not_end_the_connection(line: Line) -> None:
    for trailer in (b"Connection: close", b"Proxy-Connection: close", b"Connection: upgrade"):
        line.transport.arrive(CHUNKED + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n")
        await line.settle()
        line.transport.arrive(POST % b"Proxy-Connection: close\r\nContent-Length: 3" + b"abc")
        await line.settle()
    assert statuses(line) == ["200"] * 6
    assert b"connection: close" not in line.transport.sent
    assert line.protocol.state is State.IDLE


async def test_an_old_client_is_never_told_to_go_on(line: Line) -> None:
    request = POST % b"Expect: 100-continue\r\nContent-Length: 3"
    line.transport.arrive(request.replace(b"1.1", b"1.0"))
    await line.settle()
    assert line.transport.sent == b""
    line.transport.arrive(b"abc")
    await line.settle()
    assert statuses(line) == ["200"]


async def test_who_sends_more_behind_the_last_request_lives_to_read_its_answer(line: Line) -> None:
    line.transport.arrive((POST % b"Connection: close\r\nContent-Length: 0") + WHOLE * 9)
    await line.settle()
    assert statuses(line) == ["200"]
    assert line.transport.ended and not line.transport.gone
    line.transport.arrive(WHOLE * 100)
    await line.pass_time(3)
    assert statuses(line) == ["200"]
    assert line.transport.gone
