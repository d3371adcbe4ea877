"""The threads that hash passwords: few, of low priority, and with a short, fair queue in front.

bcrypt releases the GIL, so one thread a core hashes as fast as the machine can; at nice 19 the
kernel lets every other request pass it. Waiting longer than the queue allows is refused at once:
a login that fails in a millisecond can be retried, one that hangs for a minute cannot. Who goes
first and who is refused, `passwords.fair` decides.

At nice 19 a thread starves beside any program that never rests. So there is one more thread, at
nice 5, which helps once somebody has waited for `PATIENCE`, but only while the others are given
next to no time: in a flood that they work off as fast as the machine can it would only take from
those who do not log in.

Refusals leave at a steady pace. Whoever asks again the moment they are refused would otherwise
take all of a core for being refused, and the hashing threads get what is left.
"""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from identity.authentication.passwords.fair import Asked, FairQueue, Waiting
from identity.errors import Overloaded

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that a job waits before the thread at nice 5 helps."""
REFUSALS, AT_ONCE = 200, 50
"""A second, and as many more in a burst; those beyond wait their turn, `LONGEST_PAUSE` at most."""
LONGEST_PAUSE = 1.0
_NICE, _NICE_LATE = 19, 5
_SAMPLE = 0.1  # seconds
_STARVING = 0.25  # of a core, that all hashing threads get together
_MAX_RETRY_AFTER = 30


def cores() -> int:
    """Cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class _Job:
    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()

    def do(self) -> Callable[[], None]:
        """What comes back tells whoever waits for it."""
        try:
            result = self.work()
        except BaseException as error:
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, result)

    def refuse(self, error: Exception) -> None:
        with suppress(InvalidStateError):  # cancelled meanwhile
            self.future.set_exception(error)


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
        patience: float = PATIENCE,
    ) -> None:
        self.threads = max(1, min(threads or cores() // workers, cores()))
        self._queue: FairQueue[_Job] = FairQueue(queue, time.monotonic)
        self._patience = patience
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._late = threading.Condition(self._lock)
        self._timing = False  # the thread for late jobs looks again by itself
        self._started: list[threading.Thread] = []
        self._clocks: list[int] = []
        self._running = 0  # in ordinary threads
        self._job_seconds = 0.25
        self._next_refusal = 0.0
        self._closed = threading.Event()

    @property
    def depth(self) -> int:
        """Jobs that wait for a thread."""
        with self._lock:
            return len(self._queue)

    async def ask(self, account: str, address: str) -> Asked:
        """A place for `account` at `address`, to be given to `run`. Raises the `Overloaded` that
        `run` would raise now, before anything is done for a job."""
        with self._lock:
            asked = self._queue.ask(account, address)
            room = not self._closed.is_set() and self._queue.has_room(asked, self._spare())
        if not room:
            await self._refuse()
        return asked

    async def run(self, asked: Asked, job: Callable[..., T], *args: object) -> T:
        """`job(*args)` in a hashing thread. `Overloaded` where no place is left, while it waits for
        its turn when somebody comes who has taken fewer places, and when it has waited too long.

        A caller that is cancelled while it waits gives its place up, and nothing is hashed for it.
        """
        future = self._submit(asked, lambda: job(*args))
        if future is None:
            await self._refuse()
        result: T = await asyncio.wrap_future(future)
        return result

    def close(self) -> None:
        """Finish what is being hashed (at most some seconds), drop what waits, refuse the rest."""
        self._closed.set()
        with self._lock:
            dropped = self._queue.clear()
            self._ready.notify_all()
            self._late.notify_all()
        for entry in dropped:
            entry.job.future.cancel()
        for thread in self._started:
            thread.join()

    def _submit(self, asked: Asked, work: Callable[[], T]) -> "Future[T] | None":
        job = _Job(work)
        with self._lock:
            if self._closed.is_set():
                return None
            entry, refused = self._queue.put(job, asked, self._spare())
            if refused is entry:
                return None
            if not self._started:
                self._start()
            self._ready.notify()
            if not self._timing:
                self._late.notify()
            error = Overloaded(retry_after=self._retry_after())
        if refused is not None:
            refused.job.refuse(error)
        job.future.add_done_callback(lambda _: self._withdraw(entry))
        return job.future

    async def _refuse(self) -> NoReturn:
        now, step = time.monotonic(), 1 / REFUSALS
        self._next_refusal = min(max(now, self._next_refusal) + step, now + LONGEST_PAUSE)
        if (pause := self._next_refusal - now - AT_ONCE * step) > 0:
            await asyncio.sleep(pause)
        with self._lock:
            raise Overloaded(retry_after=self._retry_after())

    def _withdraw(self, entry: Waiting[_Job]) -> None:
        """Only a job that was cancelled before it began is still there."""
        with self._lock:
            self._queue.withdraw(entry)

    def _spare(self) -> int:
        return self.threads - self._running

    def _retry_after(self) -> int:
        unfinished = len(self._queue) + self._running
        wait = math.ceil(unfinished * self._job_seconds / self.threads)
        return max(1, min(wait, _MAX_RETRY_AFTER))

    # --- In the threads -------------------------------------------------------------------

    def _start(self) -> None:
        loops = [self._hash] * self.threads + [self._hash_what_is_late]
        self._started = [
            threading.Thread(target=loop, name=f"hashing-{number}", daemon=True)
            for number, loop in enumerate(loops)
        ]
        for thread in self._started:
            thread.start()

    def _hash(self) -> None:
        _lower_priority(_NICE)
        if hasattr(time, "pthread_getcpuclockid"):
            self._clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        while (entry := self._next()) is not None:
            tell = self._do(entry)
            with self._lock:  # first: who is told may ask again before this thread goes on
                self._running -= 1
            tell()

    def _next(self) -> Waiting[_Job] | None:
        with self._ready:
            while not self._closed.is_set():
                if (entry := self._queue.take()) is not None:
                    self._running += 1
                    return entry
                self._ready.wait()
        return None

    def _hash_what_is_late(self) -> None:
        _lower_priority(_NICE_LATE)
        while self._wait_for_late():
            if not self._starving():
                continue
            with self._lock:
                late = (self._queue.longest() or 0.0) >= self._patience
                entry = self._queue.take() if late else None
            if entry is not None:
                self._do(entry)()

    def _wait_for_late(self) -> bool:
        """Until a job has waited too long; False when the pool is closed."""
        with self._late:
            while not self._closed.is_set():
                longest = self._queue.longest()
                if longest is not None and longest >= self._patience:
                    return True
                self._timing = longest is not None
                self._late.wait(None if longest is None else self._patience - longest)
                self._timing = True
        return False

    def _starving(self) -> bool:
        """Whether the ordinary threads, which have work, are given next to no time."""
        before = self._cpu_seconds()
        self._closed.wait(_SAMPLE)
        return self._cpu_seconds() - before < _SAMPLE * _STARVING

    def _cpu_seconds(self) -> float:
        spent = 0.0
        for clock in self._clocks:
            with suppress(OSError):  # the thread has ended
                spent += time.clock_gettime(clock)
        return spent

    def _do(self, entry: Waiting[_Job]) -> Callable[[], None]:
        if not entry.job.future.set_running_or_notify_cancel():
            return lambda: None
        if not self._queue.in_time(entry):
            with self._lock:
                error = Overloaded(retry_after=self._retry_after())
            return partial(entry.job.refuse, error)
        started = time.monotonic()
        if self._on_wait:
            self._on_wait(started - entry.arrived)
        tell = entry.job.do()
        with self._lock:
            self._job_seconds += (time.monotonic() - started - self._job_seconds) / 8
        return tell


def _lower_priority(nice: int) -> None:
    if sys.platform == "linux":  # elsewhere setpriority takes processes only
        thread = threading.get_native_id()
        nice = max(nice, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, nice)
