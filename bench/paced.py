"""A paced load: one request every so often on kept connections, each one's latency recorded.

`wrk` asks as fast as it is answered; what a user feels while others log in needs a steady pace.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

Latencies = list[float]
"""Milliseconds, one a request, measured from when it was due; `NOT_ASKED` where it was too late for
that."""
CONNECTIONS = 32
WAITING = 1000
"""Requests of a `flood` that may wait for their answers."""
NOT_ASKED = float("inf")


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiter: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        if len(body) >= length:
            self._buffer = body[length:]
            assert self._waiter is not None
            self._waiter.set_result(int(head[9:12]))

    async def ask(self, request: bytes) -> int:
        assert self.transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._waiter

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


async def connect(port: int) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
    return connection


async def steady(port: int, requests: Sequence[bytes], *, rate: float, seconds: float) -> Latencies:
    """Latencies of `rate` requests a second. Never more than `CONNECTIONS` at once: where all are
    busy when another is due, it is `NOT_ASKED`, which counts as slower than any that was."""
    free = [await connect(port) for _ in range(CONNECTIONS)]
    latencies: Latencies = []

    async def one(connection: _Connection, due: float, request: bytes) -> None:
        await connection.ask(request)
        latencies.append((time.perf_counter() - due) * 1000)
        free.append(connection)

    async with asyncio.TaskGroup() as tasks:
        async for number, due in _paced(rate, seconds):
            if free:
                request = requests[number % len(requests)]
                tasks.create_task(one(free.pop(), due, request))
            else:
                latencies.append(NOT_ASKED)
    latencies += [NOT_ASKED] * (int(rate * seconds) - len(latencies))
    for connection in free:
        connection.close()
    return latencies


async def flood(
    port: int, request: bytes, *, rate: float, seconds: float
) -> tuple[dict[int, int], Latencies, int]:
    """Answers by status, and how long the refused ones (503) took, of `rate` requests a second,
    each on whichever connection is free; more connections are opened as needed. And how many were
    not asked, because `WAITING` were waiting."""
    free: list[_Connection] = []
    statuses: dict[int, int] = {}
    refused: Latencies = []
    waiting = asked = 0

    async def one() -> None:
        nonlocal waiting
        connection = free.pop() if free else await connect(port)
        sent = time.perf_counter()
        status = await connection.ask(request)
        statuses[status] = statuses.get(status, 0) + 1
        if status == 503:
            refused.append((time.perf_counter() - sent) * 1000)
        free.append(connection)
        waiting -= 1

    async with asyncio.TaskGroup() as tasks:
        async for _ in _paced(rate, seconds):
            if waiting < WAITING:
                waiting += 1
                asked += 1
                tasks.create_task(one())
    for connection in free:
        connection.close()
    return statuses, refused, int(rate * seconds) - asked


async def _paced(rate: float, seconds: float) -> AsyncIterator[tuple[int, float]]:
    """Each request's number, once it is due, and when that was; those that are not due within
    twice the time, because the load itself cannot keep up, are left out."""
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        now = time.perf_counter()
        if now - began > 2 * seconds:
            return
        await asyncio.sleep(max(0.0, due - now))
        yield number, due


def not_asked(latencies: Latencies) -> float:
    """The share of requests that nobody was free to ask."""
    return sum(each == NOT_ASKED for each in latencies) / len(latencies)


def percentile(latencies: Sequence[float], share: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
