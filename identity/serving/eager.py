"""Requests begun without a task, all that have come together in one go, and answered together.

Most hot answers wait for nothing: a task for each would cost more than it is good for. And each
write wakes whoever waits for it, which takes as long as a simple answer; writes that follow close
on each other find the reader awake.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from time import perf_counter
from typing import Any

Work = Coroutine[Any, Any, None]
Rest = Callable[[asyncio.Task[None]], None]


HOLD = 0.001
"""Seconds for which an answer waits for those begun with it, at the most."""


class Beginner:
    """One an event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Work, Rest]] = []
        self._beginning = False
        self._held: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, loop: asyncio.AbstractEventLoop, work: Work, rest: Rest) -> None:
        """Begin `work` in the next round of `loop`. Where it waits for something, `rest` is given
        the task that goes on with it.

        Up to there no task is current: what needs one, such as `asyncio.timeout`, comes after an
        `await asyncio.sleep(0)`. Context variables are `work`'s own throughout.
        """
        if not self._waiting:
            loop.call_soon(self._begin, loop)
        self._waiting.append((work, rest))

    def write(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Send `answer`, together with those of others that are begun in this round."""
        if self._beginning:
            self._held.append((transport, answer))
        else:
            transport.write(answer)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        self._beginning, since = True, perf_counter()
        try:
            for work, rest in waiting:
                context = copy_context()
                try:
                    awaited = context.run(work.send, None)
                except StopIteration:
                    pass
                else:
                    rest(loop.create_task(_Begun(work, awaited), context=context))
                if self._held and perf_counter() - since > HOLD:
                    self._release()
                    since = perf_counter()
        finally:
            self._beginning = False
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for transport, answer in held:
            transport.write(answer)


class _Begun(Coroutine[Any, Any, None]):
    """`work`, of which a task is to wait for `awaited` first."""

    __slots__ = ("_awaited", "_first", "_work")

    def __init__(self, work: Work, awaited: Any) -> None:
        self._work = work
        self._awaited = awaited
        self._first = True
        if awaited is not None:
            # What a task does with a future it is given, before another awaits the same one.
            awaited._asyncio_future_blocking = False

    def send(self, value: Any) -> Any:
        if not self._first:
            return self._work.send(value)
        self._first = False
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited._asyncio_future_blocking = True
        return awaited

    def throw(self, *error: Any) -> Any:
        self._first = False
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("a task runs this, nobody awaits it")
