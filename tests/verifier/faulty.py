"""An issuer whose network fails as a test says, and waiting without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import httpx

from identity.verifier.testing import Issuer


async def until(condition: Callable[[], object], turns: int = 2_000) -> None:
    """Give the loop's tasks turns until `condition` holds; no time passes."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    assert condition()


async def turns(number: int = 200) -> None:
    """Let everything that can happen without time passing happen."""
    for _ in range(number):
        await asyncio.sleep(0)


class Faulty(httpx.AsyncBaseTransport):
    """Cuts every stream of revocations after so many octets, handing it out in pieces.

    `cuts` says after how many, None or its end: never. `silent` streams say nothing, and
    what was meant for them is gone. `hold` keeps every answer back while it is set.
    """

    def __init__(
        self, issuer: Issuer, cuts: Iterable[int | None] = (), pieces: Iterable[int] = ()
    ) -> None:
        self._inner = issuer.transport
        self._cuts = iter(cuts)
        self._pieces = iter(pieces)
        self.silent = False
        self.streams = 0
        self.go = asyncio.Event()
        self.go.set()

    def attached(self, verifier: object) -> None:
        self._inner.attached(verifier)  # type: ignore[arg-type]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self.go.wait()
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-type") != "text/event-stream":
            return response
        self.streams += 1
        cut = next(self._cuts, None)
        body = self._cut(response, cut, request)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    async def _cut(
        self, response: httpx.Response, cut: int | None, request: httpx.Request
    ) -> AsyncIterator[bytes]:
        if self.silent:
            await asyncio.Event().wait()
        left = cut
        async for octets in response.aiter_bytes():
            if self.silent:
                continue
            for piece in self._in_pieces(octets):
                if left is not None:
                    piece, left = piece[:left], left - len(piece)
                if piece:
                    yield piece
                if left is not None and left <= 0:
                    raise httpx.ReadError("the stream was cut", request=request)

    def _in_pieces(self, octets: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(octets):
            size = next(self._pieces, None) or len(octets)
            yield octets[start : start + size]
            start += size
