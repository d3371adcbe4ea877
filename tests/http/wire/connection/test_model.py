"""A connection beside h11: what it takes, what it answers, in which order, and when it ends."""

import asyncio
import re

import h11
import pytest
from hypothesis import HealthCheck, given, note, settings

from identity.http.wire.protocol import HELD_BYTES, READ_BYTES, Limits
from tests.http.wire.connection import oracle
from tests.http.wire.connection.line import Line, told
from tests.http.wire.connection.oracle import End, Request
from tests.http.wire.connection.scripts import Last, Script, Then, scripts
from tests.proofs import LONG, effort

BATCHES, CASES = 20 if LONG else 1, effort(400, 2_000, 5_000)
REFUSED = [(400, None), (431, None)]
LATE = (408, None)
ANY = Request("GET", b"/", "1.1", [], b"")
LIMITS = Limits(head_seconds=10, body_seconds=10, idle_seconds=60, linger_seconds=2)


class Answers:
    """What came back, one answer after the other: the status and, of a 200, the body."""

    def __init__(self, requests: list[Request], rest: bytes, sent: bytes) -> None:
        method = "HEAD" if rest.startswith(b"HEAD ") else "GET"
        self._requests = iter([*requests, Request(method, b"/", "1.1", [], b"")])
        self._sent = sent
        self._closed = False
        self.latest: tuple[int, bytes | None] | None = None

    def next(self) -> tuple[int, bytes | None]:
        assert not self._closed, "the answer before said that it was the last one"
        request = next(self._requests)
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=request.method, target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(self._sent)
        client.receive_data(b"")
        status, body, interim = 0, b"", 0
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA and not isinstance(event, h11.ConnectionClosed)
            if isinstance(event, h11.InformationalResponse):
                interim += 1
                assert event.status_code == 100 and request.continues
            elif isinstance(event, h11.Response):
                status = event.status_code
                self._closed = (b"connection", b"close") in event.headers
            elif isinstance(event, h11.Data):
                body += event.data
        assert interim <= 1
        self._sent = client.trailing_data[0]
        self.latest = status, body if status == 200 else None
        return self.latest

    def assert_over(self, closed: bool | None = None) -> None:
        """`closed`: whether the last answer said that nothing follows."""
        assert self._sent == b""
        assert closed is None or self._closed is closed


def path_of(request: Request) -> bytes:
    path = re.sub(rb"^(?i:https?)://[^/?#]*", b"", request.target)
    return re.split(rb"[?#]", path)[0] or b"/"


def expected(request: Request) -> tuple[int, bytes]:
    body = b"" if path_of(request) == b"/early" else request.body
    said = told(request.method, path_of(request), request.headers, body)
    return 200, b"" if request.method == "HEAD" else said


@pytest.fixture(scope="module")
def runner() -> "asyncio.Runner":
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.fuzz
@pytest.mark.parametrize("batch", range(BATCHES))
@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(script=scripts())
def test_a_connection_reads_what_h11_reads_and_answers_in_order(
    runner: asyncio.Runner, batch: int, script: Script
) -> None:
    line = runner.run(_play(script))
    note(repr(line.transport.sent))
    assert not line.errors
    assert line.transport.gone
    if script.last in (Last.SLOW, Last.LET_GO):
        check(script.octets, line.transport.sent)


async def _play(script: Script) -> Line:
    line = Line(LIMITS)
    for piece, then in script.pieces:
        if piece:
            line.transport.arrive(piece)
        if then is Then.ROUNDS:
            await line.settle(3)
        elif then is Then.TIME:
            await line.settle(1)
            line.clock.now += 0.5
        elif then is Then.LET_GO:
            await line.settle(3)
            line.let_go()
        protocol = line.protocol
        assert len(protocol._came) - protocol._at <= HELD_BYTES + READ_BYTES
    await line.settle()
    if script.last is Last.SLOW:
        await line.pass_time(30)
    elif script.last is Last.EOF:
        line.protocol.eof_received()
        line.transport.close()
    elif script.last is Last.RESET:
        line.transport.reset()
    await line.finish()
    await line.pass_time(100)
    await line.finish()
    await line.settle()
    assert not line.protocol.server_state.tasks
    return line


def check(octets: bytes, sent: bytes) -> None:
    """Compare the answers `sent` with what `octets` ask for."""
    requests, end, rest = oracle.read(octets)
    answers = Answers(requests, rest, sent)
    unfinished = requests.pop() if end in (End.BODY, End.BROKEN_BODY) else None
    for request in requests:
        if reasons := oracle.stricter(request):
            given = answers.next()
            in_time = path_of(request) == b"/early" and given == expected(request)
            assert given in REFUSED or in_time, (reasons, request)
            answers.assert_over()
            return
        assert answers.next() == expected(request), request
    if unfinished is not None:
        _check_unfinished(octets, [*requests, unfinished], end, answers)
    elif end is End.BROKEN_HEAD:
        unfinished_too = b"\r\n\r\n" not in rest and b"\n\n" not in rest
        assert answers.next() in REFUSED or (unfinished_too and answers.latest == LATE)
        answers.assert_over(closed=True)
    elif end is End.HEAD:
        if answers.next() != LATE:
            assert answers.latest in REFUSED
            assert oracle.beyond_repair(octets, [*requests, ANY])
        answers.assert_over(closed=True)
    else:
        if not requests:
            assert answers.next() == LATE
        answers.assert_over(closed=end is End.CLOSED or not requests)


def _check_unfinished(octets: bytes, requests: list[Request], end: End, answers: Answers) -> None:
    """A request that is answered before its body has come gets no second answer."""
    unfinished = requests[-1]
    given = answers.next()
    if given in REFUSED:
        refused = end is End.BROKEN_BODY or oracle.stricter(unfinished)
        assert refused or oracle.beyond_repair(octets, requests)
    elif end is End.BROKEN_BODY and oracle.laxer(octets):
        return  # and whatever is behind it
    elif path_of(unfinished) == b"/early":
        assert given == expected(unfinished)
    else:
        assert (given, end) == (LATE, End.BODY)
    answers.assert_over()
