import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import pytest

from identity.authentication.passwords import fair
from identity.authentication.passwords.pool import AT_ONCE, REFUSALS, HashingPool, cores
from identity.errors import Overloaded

T = TypeVar("T")


class Gate:
    """A job that holds its thread until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.ran: list[str] = []

    def job(self, name: str) -> str:
        self.entered.release()
        assert self.open.wait(60)
        self.ran.append(name)
        return name


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """However slow the machine, nobody has waited too long for it."""
    monkeypatch.setattr(fair, "LONGEST_WAIT", 60)
    return Gate()


@pytest.fixture
def pool(gate: Gate) -> Iterator[HashingPool]:
    pool = HashingPool(threads=1, queue=2)
    yield pool
    gate.open.set()
    pool.close()


async def run(pool: HashingPool, job: Callable[..., T], *args: object, by: str = "ada") -> T:
    """As somebody at an address of their own."""
    return await pool.run(await pool.ask(by, f"address of {by}"), job, *args)


async def start(pool: HashingPool, gate: Gate, *names: str) -> list["asyncio.Task[str]"]:
    """Tasks of people of these names, of which the first holds the only thread."""
    tasks = [asyncio.create_task(run(pool, gate.job, name, by=name)) for name in names]
    await asyncio.to_thread(gate.entered.acquire)
    return tasks


async def test_a_job_returns_its_result_and_raises_its_errors(pool: HashingPool) -> None:
    assert await run(pool, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run(pool, divmod, 7, 0)
    assert pool.depth == 0


async def test_a_full_queue_refuses_at_once_while_the_others_go_on(
    pool: HashingPool, gate: Gate
) -> None:
    tasks = await start(pool, gate, "hashing", "waiting", "waiting too")
    assert pool.depth == 2
    for _ in range(20):
        with pytest.raises(Overloaded) as refused:
            await asyncio.wait_for(run(pool, gate.job, "too many", by="a newcomer"), 20)
        assert 1 <= refused.value.retry_after <= 30
    gate.open.set()
    assert await asyncio.gather(*tasks) == ["hashing", "waiting", "waiting too"]
    assert pool.depth == 0
    assert await run(pool, gate.job, "room again") == "room again"


async def test_who_gives_up_waiting_frees_the_place_and_is_not_hashed(
    pool: HashingPool, gate: Gate
) -> None:
    first, gone, stays = await start(pool, gate, "hashing", "gone", "stays")
    gone.cancel()
    await asyncio.wait([gone])
    assert pool.depth == 1
    late = asyncio.create_task(run(pool, gate.job, "late", by="late"))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, stays, late)
    assert gate.ran == ["hashing", "stays", "late"]


async def test_who_gives_up_while_being_hashed_keeps_the_place_until_it_is_done(
    pool: HashingPool, gate: Gate
) -> None:
    hashing, *others = await start(pool, gate, "hashing", "waiting", "waiting too")
    hashing.cancel()
    await asyncio.wait([hashing])
    with pytest.raises(Overloaded):
        await run(pool, gate.job, "too many", by="a newcomer")
    gate.open.set()
    await asyncio.gather(*others)
    assert gate.ran[0] == "hashing"


async def test_a_closed_pool_finishes_what_it_hashes_and_drops_the_rest(gate: Gate) -> None:
    pool = HashingPool(threads=1, queue=2)
    hashing, waiting = await start(pool, gate, "hashing", "waiting")
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    await asyncio.wait([waiting])
    gate.open.set()
    await closing
    assert await hashing == "hashing"
    assert gate.ran == ["hashing"]
    with pytest.raises(Overloaded):
        await run(pool, gate.job, "too late")


async def test_the_time_spent_waiting_is_told(gate: Gate) -> None:
    waits: list[float] = []
    pool = HashingPool(threads=1, queue=2, on_wait=waits.append)
    tasks = await start(pool, gate, "hashing", "waiting")
    both_are_there = time.perf_counter()
    while (waited := time.perf_counter() - both_are_there) < 0.02:
        pass
    gate.open.set()
    await asyncio.gather(*tasks)
    pool.close()
    assert len(waits) == 2
    assert waits[1] >= waited


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a thread a priority")
async def test_hashing_threads_have_the_lowest_priority_and_no_other_thread_does(
    pool: HashingPool,
) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    assert await run(pool, priority) == 19
    assert priority() == before


def test_threads_are_the_cores_shared_among_workers_and_at_least_one() -> None:
    for threads, workers, expected in (
        (None, 1, cores()),
        (0, 1, cores()),
        (None, 1000, 1),
        (1, 1, 1),
        (10_000, 1, cores()),
    ):
        pool = HashingPool(threads, workers=workers)
        assert pool.threads == expected
        pool.close()


async def test_whoever_has_waited_too_long_is_refused_and_is_not_hashed(
    pool: HashingPool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing, *waiting = await start(pool, gate, "hashing", "waiting", "waiting too")
    monkeypatch.setattr(fair, "LONGEST_WAIT", 0)
    gate.open.set()
    assert await hashing == "hashing"
    for task in waiting:
        with pytest.raises(Overloaded) as refused:
            await task
        assert refused.value.retry_after >= 1
    assert (gate.ran, pool.depth) == (["hashing"], 0)
    monkeypatch.setattr(fair, "LONGEST_WAIT", 60)
    assert await run(pool, gate.job, "later") == "later"


async def test_somebody_else_takes_the_place_of_the_newest_job_of_whoever_has_most(
    gate: Gate,
) -> None:
    pool = HashingPool(threads=1, queue=2)
    (hashing,) = await start(pool, gate, "hashing")
    many = [
        asyncio.create_task(pool.run(await pool.ask(name, "one address"), gate.job, name))
        for name in ("first", "second")
    ]
    await asyncio.sleep(0)
    other = asyncio.create_task(run(pool, gate.job, "other", by="other"))
    with pytest.raises(Overloaded) as refused:
        await many[1]
    assert refused.value.retry_after >= 1
    gate.open.set()
    assert await asyncio.gather(hashing, many[0], other) == ["hashing", "first", "other"]
    pool.close()


async def test_one_account_never_has_more_than_two_jobs_waiting(gate: Gate) -> None:
    wide = HashingPool(threads=1, queue=32)
    await start(wide, gate, "hashing")
    tasks = [asyncio.create_task(run(wide, gate.job, "mine", by="mallory")) for _ in range(60)]
    for refused in itertools.islice(asyncio.as_completed(tasks), 58):
        with pytest.raises(Overloaded):
            await refused
    assert wide.depth == 2
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers.count("mine") == 2
    wide.close()


async def test_whoever_has_been_told_finds_the_thread_free_however_slowly_it_goes_on(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three changes of one password at once, each of which asks twice, all find a place."""
    goes_on = threading.Event()

    class Told(Future[str]):
        def set_result(self, result: str) -> None:
            super().set_result(result)
            assert goes_on.wait(10)

    monkeypatch.setattr("identity.authentication.passwords.pool.Future", Told)
    pool = HashingPool(threads=1, queue=32)
    (first,) = await start(pool, gate, "ada")
    more = [asyncio.create_task(run(pool, gate.job, "ada")) for _ in range(2)]
    await asyncio.sleep(0)
    assert pool.depth == 2
    gate.open.set()
    await first
    again = asyncio.create_task(run(pool, gate.job, "again"))
    await asyncio.sleep(0)
    goes_on.set()
    assert await asyncio.gather(*more, again) == ["ada", "ada", "again"]
    pool.close()


async def test_refusals_leave_at_a_steady_pace(pool: HashingPool, gate: Gate) -> None:
    """Or whoever asks again at once has a core to himself."""
    await start(pool, gate, "hashing", "waiting", "waiting too")
    began = time.perf_counter()
    asked = [run(pool, gate.job, "too many", by=str(number)) for number in range(150)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, Overloaded) for answer in answers)
    assert time.perf_counter() - began >= (145 - AT_ONCE) / REFUSALS


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a thread a priority")
async def test_what_waits_while_the_hashing_threads_starve_goes_to_one_at_nice_5(
    gate: Gate,
) -> None:
    """A thread that is blocked gets as little done as one beside a program that never rests."""
    pool = HashingPool(threads=1, queue=8, patience=0.05)
    tasks = await start(pool, gate, "starving")

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    late = await asyncio.wait_for(run(pool, priority, by="late"), 10)
    assert late == max(5, priority())
    gate.open.set()
    await asyncio.gather(*tasks)
    pool.close()


async def test_late_jobs_wait_on_while_the_hashing_threads_get_on(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second thread would only take from those who do not log in."""
    looked, seconds = threading.Semaphore(0), itertools.count()

    def busy(_: HashingPool) -> float:
        looked.release()
        return float(next(seconds))

    monkeypatch.setattr(HashingPool, "_cpu_seconds", busy)
    pool = HashingPool(threads=1, queue=8, patience=0.001)
    tasks = await start(pool, gate, "hashing", "late")
    for _ in range(5):
        assert await asyncio.to_thread(looked.acquire, True, 10)
    assert pool.depth == 1
    gate.open.set()
    await asyncio.gather(*tasks)
    pool.close()
