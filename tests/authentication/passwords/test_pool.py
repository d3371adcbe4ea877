import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from identity.authentication.passwords.pool import HashingPool, cores
from identity.errors import Overloaded


class Gate:
    """A job that holds its thread until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.ran: list[str] = []

    def job(self, name: str) -> str:
        self.entered.release()
        assert self.open.wait(10)
        self.ran.append(name)
        return name


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def pool(gate: Gate) -> Iterator[HashingPool]:
    pool = HashingPool(threads=1, queue=2)
    yield pool
    gate.open.set()
    pool.close()


async def start(pool: HashingPool, gate: Gate, *names: str) -> list["asyncio.Task[str]"]:
    """Tasks of which the first holds the only thread."""
    tasks = [asyncio.create_task(pool.run(gate.job, name)) for name in names]
    await asyncio.to_thread(gate.entered.acquire)
    return tasks


async def test_a_job_returns_its_result_and_raises_its_errors(pool: HashingPool) -> None:
    assert await pool.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 7, 0)
    assert pool.depth == 0


async def test_a_full_queue_refuses_at_once_while_the_others_go_on(
    pool: HashingPool, gate: Gate
) -> None:
    tasks = await start(pool, gate, "hashing", "waiting", "waiting too")
    assert pool.depth == 2
    for _ in range(100):
        with pytest.raises(Overloaded) as refused:
            await asyncio.wait_for(pool.run(gate.job, "too many"), 0.5)
        assert 1 <= refused.value.retry_after <= 30
        with pytest.raises(Overloaded):
            pool.check_room()
    gate.open.set()
    assert await asyncio.gather(*tasks) == ["hashing", "waiting", "waiting too"]
    assert pool.depth == 0
    pool.check_room()
    assert await pool.run(gate.job, "room again") == "room again"


async def test_who_gives_up_waiting_frees_the_place_and_is_not_hashed(
    pool: HashingPool, gate: Gate
) -> None:
    first, gone, stays = await start(pool, gate, "hashing", "gone", "stays")
    gone.cancel()
    await asyncio.wait([gone])
    assert pool.depth == 1
    late = asyncio.create_task(pool.run(gate.job, "late"))
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
        await pool.run(gate.job, "too many")
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
        await pool.run(gate.job, "too late")


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
    assert await pool.run(priority) == 19
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
