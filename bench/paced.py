"""A paced load: one request every so often on kept connections, each one's latency recorded.

`wrk` asks as fast as it is answered; what a user feels while others log in needs a steady pace.
"""

import asyncio
import time
from collections.abc import Sequence

Latencies = list[float]
"""Milliseconds, one a request, measured from when it was due."""


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
    """Latencies of `rate` requests a second."""
    free = [await connect(port) for _ in range(32)]
    latencies: Latencies = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float, request: bytes) -> None:
        connection = free.pop()
        await connection.ask(request)
        latencies.append((time.perf_counter() - due) * 1000)
        free.append(connection)

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        if not free:
            latencies.append(1000.0)  # a second late at least: nobody was free to ask
            continue
        task = asyncio.create_task(one(due, requests[number % len(requests)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return latencies


async def flood(
    port: int, request: bytes, *, rate: float, seconds: float
) -> tuple[dict[int, int], Latencies]:
    """Answers by status, and how long the refused ones (503) took, of `rate` requests a second,
    each on whichever connection is free; more connections are opened as needed."""
    free: list[_Connection] = []
    statuses: dict[int, int] = {}
    refused: Latencies = []
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        connection = free.pop() if free else await connect(port)
        sent = time.perf_counter()
        status = await connection.ask(request)
        statuses[status] = statuses.get(status, 0) + 1
        if status == 503:
            refused.append((time.perf_counter() - sent) * 1000)
        free.append(connection)

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        if (wait := began + number / rate - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return statuses, refused


def percentile(latencies: Sequence[float], share: float) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
