"""SQLite's one writer in this process: a thread that commits all waiting work at once.

Throughput then does not hang on fsync: the longer a commit takes, the more the next one carries.
"""

import asyncio
import contextvars
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import Session

from identity.errors import Unavailable
from identity.store.deadlines import left
from identity.store.driver import Plain, change_one_each, unusable
from identity.store.engines import BEGUN
from identity.store.files import Files
from identity.store.statements import Statement, Values

T = TypeVar("T")
GROUP = 64
"""What one commit carries at the most."""
PATIENCE = 0.2
"""Seconds that SQLite waits for another's lock before it is looked at who has waited too long."""
LONGEST = 5.0
"""Seconds that anybody waits for it; who is asked for a request has less, see `store.deadlines`."""


class Job(Generic[T]):
    """Something to do in the next commit, and who waits for it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.error: Exception | None = None
        self.info: dict[Any, Any] = {}
        self.until = time.monotonic() + min(left(), LONGEST)

    def run(self, connection: Connection) -> None:
        raise NotImplementedError

    def result(self) -> T:
        raise NotImplementedError

    def answer(self) -> None:
        """In the event loop, once the commit has ended."""
        if self.future.cancelled():
            return
        try:
            if self.error is not None:
                raise self.error
            self.future.set_result(self.result())
        except Exception as error:
            self.future.set_exception(error)


class UnitJob(Job[T]):
    """A unit of work in a session of its own, within a savepoint."""

    def __init__(self, run_unit: Callable[[Session], Callable[[], T]]) -> None:
        super().__init__()
        self._run_unit = run_unit
        self._context = contextvars.copy_context()
        self._outcome: Callable[[], T] | None = None

    def run(self, connection: Connection) -> None:
        session = Session(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        with session:
            self.info = session.info
            try:
                self._outcome = self._context.run(self._run_unit, session)
                session.commit()
            except Exception as error:
                asked = not (isinstance(error, OperationalError) or unusable(error))
                self.error = error if asked else _refusal(error)
                session.rollback()

    def result(self) -> T:
        assert self._outcome is not None
        return self._outcome()


class DriverJob(Job[T]):
    """What SQLite's connection can do without SQLAlchemy."""

    def run(self, connection: Connection) -> None:
        self.run_on(_driver(connection))

    def run_on(self, driver: sqlite3.Connection) -> None:
        raise NotImplementedError


class PlainJob(DriverJob[T]):
    """A unit of work that needs no session, within a savepoint."""

    def __init__(self, run_unit: Callable[[Plain], Callable[[], T]]) -> None:
        super().__init__()
        self._run_unit = run_unit
        self._context = contextvars.copy_context()
        self._outcome: Callable[[], T] | None = None

    def run_on(self, driver: sqlite3.Connection) -> None:
        driver.execute("SAVEPOINT plain")
        plain = Plain(driver)
        self.info = plain.info
        try:
            self._outcome = self._context.run(self._run_unit, plain)
        except Exception as error:
            self.error = _refusal(error) if unusable(error) else error
            driver.execute("ROLLBACK TO plain")
        driver.execute("RELEASE plain")

    def result(self) -> T:
        assert self._outcome is not None
        return self._outcome()


class StatementsJob(DriverJob[bool]):
    """Statements for the driver, all or nothing."""

    def __init__(self, statements: Sequence[Statement], values: Values) -> None:
        super().__init__()
        self._statements = statements
        self._values = values
        self._applied = False

    def run_on(self, driver: sqlite3.Connection) -> None:
        self._applied = change_one_each(driver, self._statements, self._values)

    def result(self) -> bool:
        return self._applied


class Writer:
    """`committed` hears of each unit's `info` once it is."""

    def __init__(
        self, engine: Engine, files: Files, committed: Callable[[dict[Any, Any]], None]
    ) -> None:
        self._engine = engine
        self._files = files
        self._committed = committed
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._held: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
        """What was submitted in the round under way. Each job that the queue is given wakes the
        thread, which then waits for Python's lock: all of a round go there together."""
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()
        self._connection: Connection | None = None

    def submit(self, job: Job[T]) -> "asyncio.Future[T]":
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                    self._thread.start()
        held = self._held.setdefault(job.loop, [])
        if not held:
            job.loop.call_soon(self._hand_over, job.loop)
        held.append(job)
        return job.future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        for job in self._held.pop(loop, ()):
            self._queue.put(job)

    def close(self) -> None:
        """Return once all that was submitted is committed."""
        if self._thread is not None:
            for loop in [*self._held]:
                self._hand_over(loop)
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        jobs: list[Job[Any]] = []
        closing = False
        while jobs or not closing:
            closing = self._gather(jobs) or closing
            jobs = [job for job in jobs if not job.future.cancelled()]
            if jobs:
                jobs = self._commit(jobs)
        if self._connection is not None:
            self._connection.close()

    def _gather(self, jobs: list[Job[Any]]) -> bool:
        """Add to `jobs` what was submitted, one at the least; whether there will be no more."""
        while len(jobs) < GROUP and not (jobs and self._queue.empty()):
            job = self._queue.get()
            if job is None:
                return True
            jobs.append(job)
        return False

    def _commit(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Those that may go on waiting, where another process holds SQLite's lock."""
        patient: list[Job[Any]] = []
        try:
            self._files.check()
            if self._connection is None:
                self._connection = self._connect()
            driver = _driver(self._connection)
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:  # of whatever kind
                    patient = [job for job in jobs if job.until > time.monotonic()]
                raise
            self._carry_out(jobs, self._connection, driver)
            self._files.check()  # what went into a lost file has not been written
        except Exception as error:
            refusal = error
            if isinstance(error, (SQLAlchemyError, sqlite3.Error)):
                refusal = _refusal(error)
            jobs = [job for job in jobs if job not in patient]
            for job in jobs:
                job.error = refusal
        for job in jobs:
            if job.error is None:
                self._committed(job.info)
        for loop in {job.loop for job in jobs}:
            answered = [job for job in jobs if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_answer, answered)
            except RuntimeError:  # the loop has gone, and with it whoever waited
                continue
        return patient

    def _carry_out(
        self, jobs: Sequence[Job[Any]], connection: Connection, driver: sqlite3.Connection
    ) -> None:
        """All of them and the commit. SQLAlchemy takes longer to begin and end a transaction than
        most of them take in all: it does so only where one of them needs a session."""
        by_driver = [job for job in jobs if isinstance(job, DriverJob)]
        if len(by_driver) < len(jobs):
            with connection.begin():
                for job in jobs:
                    job.run(connection)
            return
        try:
            for each in by_driver:
                each.run_on(driver)
            driver.execute("COMMIT")
        except BaseException:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            raise

    def _connect(self) -> Connection:
        """The writer's own, for good."""
        connection = self._engine.connect().execution_options(**{BEGUN: True})
        connection.detach()
        _driver(connection).execute(f"PRAGMA busy_timeout={PATIENCE * 1000:.0f}")
        return connection


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _refusal(error: Exception) -> Exception:
    return Unavailable(audit=f"{type(error).__name__}: {error.args[0]}")


def _answer(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.answer()
