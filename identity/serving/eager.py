"""Requests begun without a task, all that have come together in one go.

Most hot answers wait for nothing: a task for each would cost more than it is good for. They do not
begin while the socket is read, either: their answers would leave one by one, and each would wake
who reads it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

Work = Coroutine[Any, Any, None]
Rest = Callable[[asyncio.Task[None]], None]


class Beginner:
    """One an event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Work, Rest]] = []

    def add(self, loop: asyncio.AbstractEventLoop, work: Work, rest: Rest) -> None:
        """Begin `work` in the next round of `loop`. Where it waits for something, `rest` is given
        the task that goes on with it.

        Up to there no task is current: what needs one, such as `asyncio.timeout`, comes after an
        `await asyncio.sleep(0)`. Context variables are `work`'s own throughout.
        """
        if not self._waiting:
            loop.call_soon(self._begin, loop)
        self._waiting.append((work, rest))

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        for work, rest in waiting:
            context = copy_context()
            try:
                awaited = context.run(work.send, None)
            except StopIteration:
                continue
            rest(loop.create_task(_Begun(work, awaited), context=context))


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
        raise NotImplementedError("for a task alone")
