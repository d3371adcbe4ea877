"""Requests begun without a task, all that have come together in one go, and answered together.

Most hot answers wait for nothing: a task for each would cost more than it is good for. And each
write wakes whoever waits for it, which takes as long as a simple answer; writes that follow close
on each other find the reader awake.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any

from identity.http.wire.in_a_row import Batched

Work = Coroutine[Any, Any, None]
Rest = Callable[[asyncio.Task[None]], None]
_Paused = tuple[Batched[Any], Work, Rest, Context]


HOLD = 0.001
"""Seconds for which an answer waits for others, at the most."""
BATCH = 64
"""Requests whose `Batched` work is done in a row, at the most."""


class Outbox:
    """Answers that leave together at the end of the event loop's round. One an event loop.

    Whoever writes to a transport by itself, or closes it, calls `flush` before.
    """

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes]] = []
        self._since = 0.0

    def write(self, transport: asyncio.Transport, answer: bytes) -> None:
        held = self._held
        held.append((transport, answer))
        if len(held) == 1:
            self._since = perf_counter()
            asyncio.get_running_loop().call_soon(self.flush)
        elif perf_counter() - self._since > HOLD:
            self.flush()

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            for transport, answer in held:
                try:
                    transport.write(answer)
                except RuntimeError:  # uvloop's: the client has gone meanwhile
                    continue


class Beginner:
    """One an event loop."""

    def __init__(self) -> None:
        self.outbox = Outbox()
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
        paused: list[_Paused] = []
        for work, rest in waiting:
            self._run(loop, work, rest, copy_context(), paused)
            if len(paused) == BATCH:
                self._go_on(loop, paused)
                paused = []
        self._go_on(loop, paused)
        self.outbox.flush()

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Work,
        rest: Rest,
        context: Context,
        paused: list[_Paused],
    ) -> None:
        """Run `work` to its end, its next pause, or where it waits and needs a task."""
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            pass
        else:
            if awaited.__class__ is Batched:
                paused.append((awaited, work, rest, context))
            else:
                rest(loop.create_task(_Begun(work, awaited), context=context))

    def _go_on(self, loop: asyncio.AbstractEventLoop, paused: list[_Paused]) -> None:
        while paused:
            for batched, *_ in paused:
                batched.do()
            again: list[_Paused] = []
            for _, work, rest, context in paused:
                self._run(loop, work, rest, context, again)
            paused = again


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
