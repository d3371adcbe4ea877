"""N processes behind one port, kept at N by their parent."""

import contextlib
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import NoReturn, Protocol

import structlog

from identity.dataclass import dataclass
from identity.http.server.sockets import Sockets, own
from identity.records import logs, metrics

STOP_WITHIN = 8.5  # seconds from the signal, or from the end of the drain, to the last resort
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker that cannot start is tried again
SETTLED = 10.0  # seconds after which a worker's end says nothing about the next one's

_log = structlog.get_logger()
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class RunProcess(Protocol):
    def __call__(self, sockets: Sockets, *, ready: Callable[[], object], lifeline: int) -> int: ...


@dataclass()
class Worker:
    """One place behind the port and the process that holds it now."""

    pid: int = 0
    ready: bool = False
    started: float = 0.0
    pause: float = 0.0
    not_before: float = 0.0
    news: int = field(default=-1, repr=False)  # read end of the pipe on which it says "ready"


class Workers:
    """The parent. The first worker starts alone: if it cannot, one message and exit code 1.

    `held` keeps the port and does not listen: each worker does, on sockets of its own, once it
    can serve. When it ends they are gone, and the others get all that comes. `answers` is called in
    the parent when the first one does.
    """

    def __init__(
        self,
        run: RunProcess,
        held: Sockets,
        count: int,
        drain: float,
        answers: Callable[[], object] | None = None,
    ) -> None:
        self._run_process = run
        self._held = held
        self._drain = drain
        self._answers = answers
        self._workers = [Worker() for _ in range(count)]
        self._opened = False
        self._stopping = False
        self._lifeline, self._alive = os.pipe()
        self._wake, self._woken = socket.socketpair()

    def run(self) -> int:
        directory = Path(tempfile.mkdtemp(prefix="identity-metrics-"))
        metrics.share_between_workers(directory)
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._stop_asked)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
        try:
            while not self._stopping:
                self._fill()
                self._listen()
                if not self._reap():
                    return 1
            return 0
        finally:
            self._stop()
            metrics.share_between_workers(None)
            shutil.rmtree(directory, ignore_errors=True)
            logs.flush()

    def _stop_asked(self, *_: object) -> None:
        self._stopping = True

    def _fill(self) -> None:
        now = time.monotonic()
        wanted = self._workers if self._opened else self._workers[:1]
        for worker in wanted:
            if not worker.pid and worker.not_before <= now and not self._stopping:
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        news, says = os.pipe()
        logs.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(news)
            self._become(says)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(says)
        worker.pid, worker.news, worker.ready = pid, news, False
        worker.started = time.monotonic()

    def _become(self, says: int) -> NoReturn:
        """The child's whole life; it must never return into the parent's code."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._alive)
            code = self._run_process(
                own(self._held), ready=lambda: os.write(says, b"+"), lifeline=self._lifeline
            )
        except BaseException:
            _log.exception("worker failed")
        finally:
            logs.flush()
            os._exit(code)

    def _listen(self) -> None:
        """Wait for a signal, a worker's word, or the time to start one."""
        now = time.monotonic()
        due = [w.not_before - now for w in self._workers if not w.pid] if self._opened else []
        news = {w.news: w for w in self._workers if w.news >= 0}
        timeout = max(0.05, min(due, default=5.0))
        wake = self._wake.fileno()
        readable, _, _ = select.select([wake, *news], [], [], timeout)
        for source in readable:
            if source == wake:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                continue
            worker = news[source]
            worker.ready = worker.ready or os.read(source, 1) == b"+"
            if worker.ready and not self._opened:
                self._opened = True
                if self._answers is not None:
                    self._answers()
            os.close(source)
            worker.news = -1

    def _reap(self) -> bool:
        """Take note of workers that have ended; False if the first could not even start."""
        for worker in self._workers:
            code = _ended(worker)
            if code is None or self._stopping:
                continue
            if not self._opened:
                return False
            now = time.monotonic()
            worker.pause = pause(worker, now - worker.started)
            worker.not_before = now + worker.pause
            _log.error("a worker ended by itself", code=code, next_in=worker.pause)
        return True

    def _stop(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        deadline = time.monotonic() + self._drain + STOP_WITHIN
        for listener in self._held:
            listener.close()
        for worker in self._workers:
            _signal(worker, signal.SIGTERM)
        while any(worker.pid for worker in self._workers):
            for worker in self._workers:
                _ended(worker)
            if time.monotonic() > deadline:
                for worker in self._workers:
                    _signal(worker, signal.SIGKILL)
            time.sleep(0.02)
        signal.set_wakeup_fd(-1)
        os.close(self._alive)
        os.close(self._lifeline)
        self._wake.close()
        self._woken.close()


def pause(worker: Worker, lived: float) -> float:
    """Seconds until it is replaced. Who waits longer and longer is only one that cannot even start:
    one that served is missed, and whatever kills those that do must not keep its place empty."""
    if not worker.ready:
        return min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * worker.pause))
    return 0.0 if lived > SETTLED else FIRST_PAUSE


def _signal(worker: Worker, number: signal.Signals) -> None:
    if worker.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def _ended(worker: Worker) -> int | None:
    """The exit code, negative for a signal, once the worker's process has ended."""
    if not worker.pid:
        return None
    pid, status = os.waitpid(worker.pid, os.WNOHANG)
    if pid == 0:
        return None
    worker.pid = 0
    if worker.news >= 0:
        os.close(worker.news)
        worker.news = -1
    return os.waitstatus_to_exitcode(status)
