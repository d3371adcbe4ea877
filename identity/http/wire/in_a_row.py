"""Work that is cheaper in a row than between other things.

A signature runs through more code and tables than fit into a core's nearest caches, and throws
Python out of them: between the steps of a request it costs twice what it costs after another one.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Batched(Generic[T]):
    """Awaited, gives what `work()` returns or raises. Requests that begin in one round
    (`wire.eager`) get theirs done one right after the other; everybody else at once.

    `work` waits for nothing, and is called outside of the caller's context.
    """

    __slots__ = ("_error", "_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: Exception | None = None

    def do(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error

    def __await__(self) -> Generator[Any, Any, T]:
        if asyncio.current_task() is None:
            yield self  # whoever runs this coroutine in place of a task does it
        else:
            self.do()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
