"""Answers that come piece by piece: a file, or a page that shows how far something has come. It
takes no script: browsers show what has arrived, and the style leaves the newest count to be seen.
"""

import asyncio
from collections.abc import AsyncGenerator

from identity.http.messages import Response, Stream
from identity.pages.languages import speech

MARK = "\ufdd0pieces\ufdd0"
"""Where a template leaves room for the pieces, behind all that anybody else has written."""


class Pieces:
    """A stream's source, in the language of whoever asked. What makes the pieces is ended when
    nobody listens any more."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces
        self._speech = speech.get()
        self._left = False

    async def next(self) -> bytes | None:
        await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
        before = speech.set(self._speech)
        try:
            if self._left:
                await self._pieces.aclose()
                return None
            return await anext(self._pieces, None)
        finally:
            speech.reset(before)

    def close(self) -> None:
        self._left = True


def streamed(page: Response, pieces: AsyncGenerator[str, None]) -> Stream:
    """`page`, with the pieces where it has its `MARK`."""
    head, _, tail = page.body.rpartition(MARK.encode())

    async def whole() -> AsyncGenerator[bytes, None]:
        yield head
        try:
            async for piece in pieces:
                yield piece.encode()
        finally:
            await pieces.aclose()
        yield tail

    kept = [(name, value) for name, value in page.headers if name != b"content-length"]
    return Stream(kept, Pieces(whole()))
