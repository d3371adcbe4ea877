"""One who follows the revocations: what waits for them, and who is too slow to be waited for."""

import asyncio
from collections import deque

BACKLOG = 64  # pieces that may wait for a listener; one that is slower is cut off, and resumes
WRITE = 32 * 1024  # bytes that leave together


class Listener:
    """One who follows: the `Source` of a stream."""

    def __init__(self, client: str, pieces: list[bytes]) -> None:
        self.client = client
        self._pieces = deque(pieces)
        self._patience = len(pieces) + BACKLOG
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._task: asyncio.Task[object] | None = None

    def tell(self, piece: bytes) -> None:
        self._pieces.append(piece)
        if len(self._pieces) > self._patience:
            self.close()
            if self._task is not None:  # it waits for a reader who does not read
                self._task.cancel()
        self._wake()

    async def next(self) -> bytes | None:
        self._task = asyncio.current_task()
        while not self._pieces and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._closed:
            return None
        taken, size = [], 0
        while self._pieces and size < WRITE:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        self._closed = True
        self._pieces.clear()
        self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
