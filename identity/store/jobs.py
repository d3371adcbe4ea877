"""Units of work on PostgreSQL's threads, and their ends.

The event loop cannot stop a thread; it can shut the socket that the thread waits on.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, TypeVar

from identity.errors import Unavailable
from identity.store.deadlines import CHORE, left

if TYPE_CHECKING:
    from identity.store.connections import Connection

T = TypeVar("T")


class Job:
    """`expired`: nobody waits for it any more."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.expired = False
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def hold(self, connection: "Connection") -> None:
        with self._lock:
            self.check()
            self._connection = connection

    def release(self) -> None:
        with self._lock:
            self._connection = None

    def check(self) -> None:
        if self.expired:
            raise Unavailable(audit="no answer in time")

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            if self._connection is not None:
                self._connection.sever()


_here = threading.local()


def current_job() -> Job | None:
    """The job that this thread is at; None for synchronous callers."""
    return getattr(_here, "job", None)


def job_left() -> float:
    """Seconds until the job of this thread ends."""
    job = current_job()
    return CHORE if job is None else job.until - time.monotonic()


async def in_thread(threads: Executor, run: Callable[[], T]) -> T:
    """What `run()` returns, on one of `threads`. `Unavailable` when time is up: what it has begun
    to write may come through or not."""
    job = Job(left())
    context = contextvars.copy_context()

    def work() -> T:
        job.check()
        _here.job = job
        try:
            return context.run(run)
        finally:
            _here.job = None

    future = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        done, _ = await asyncio.wait([future], timeout=job.until - time.monotonic())
    except asyncio.CancelledError:
        future.cancel()  # unless it has begun
        raise
    if done:
        return future.result()
    job.expire()
    if not future.cancel():
        future.add_done_callback(lambda late: late.cancelled() or late.exception())
    raise Unavailable(audit="no answer in time")
