"""The threads that hash passwords: few, of low priority, and with a short queue in front.

bcrypt releases the GIL, so one thread a core hashes as fast as the machine can; at nice 19 the
kernel lets every other request pass it. Waiting longer than the queue allows is refused at once:
a login that fails in a millisecond can be retried, one that hangs for a minute cannot.
"""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from identity.errors import Overloaded

T = TypeVar("T")

_NICE = 19
_MAX_RETRY_AFTER = 30


def cores() -> int:
    """Cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class HashingPool:
    """`threads`: None or 0 shares the cores among the `workers` of this machine; never more than
    the cores. `queue`: how many may wait while all threads hash. `on_wait`: called in the hashing
    thread with the seconds that a job waited for it.
    """

    def __init__(
        self,
        threads: int | None = None,
        queue: int = 32,
        *,
        workers: int = 1,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self.threads = max(1, min(threads or cores() // workers, cores()))
        self.queue = queue
        self._on_wait = on_wait
        self._executor = ThreadPoolExecutor(
            self.threads, thread_name_prefix="hashing", initializer=_lower_priority
        )
        self._lock = threading.Lock()
        self._unfinished = 0
        self._running = 0
        self._job_seconds = 0.25
        self._closed = False

    @property
    def depth(self) -> int:
        """Jobs that wait for a thread."""
        with self._lock:
            return max(0, self._unfinished - self._running)

    def check_room(self) -> None:
        """Raise the `Overloaded` that `run` would raise now, before anything is done for a job."""
        with self._lock:
            self._check_room()

    async def run(self, job: Callable[..., T], *args: object) -> T:
        """`job(*args)` in a hashing thread. Overloaded, without waiting, when the queue is full.

        A caller that is cancelled while it waits gives its place up, and nothing is hashed for it.
        """
        future = self._submit(job, args)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish what is being hashed (at most some seconds), drop what waits, refuse the rest."""
        self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _submit(self, job: Callable[..., T], args: tuple[object, ...]) -> "Future[T]":
        arrived = time.perf_counter()

        def work() -> T:
            started = time.perf_counter()
            with self._lock:
                self._running += 1
            try:
                if self._on_wait:
                    self._on_wait(started - arrived)
                return job(*args)
            finally:
                with self._lock:
                    self._running -= 1
                    self._job_seconds += (time.perf_counter() - started - self._job_seconds) / 8

        with self._lock:
            self._check_room()
            future = self._executor.submit(work)
            self._unfinished += 1
        future.add_done_callback(self._finished)
        return future

    def _check_room(self) -> None:
        if self._closed or self._unfinished >= self.threads + self.queue:
            raise Overloaded(retry_after=self._retry_after())

    def _finished(self, _: "Future[T]") -> None:
        """Also called, at once, for a job that was cancelled before it began."""
        with self._lock:
            self._unfinished -= 1

    def _retry_after(self) -> int:
        wait = math.ceil(self._unfinished * self._job_seconds / self.threads)
        return max(1, min(wait, _MAX_RETRY_AFTER))


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere setpriority takes processes only
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
