"""Requests begun without a task: all at once in the next round, and a task for what waits."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from identity.serving.eager import Beginner, Work

said: ContextVar[str] = ContextVar("said", default="nothing")


class Begun:
    """What became of works that were added: the tasks of those that waited."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self._beginner = Beginner()

    async def all(self, *works: Work) -> None:
        for work in works:
            self._beginner.add(asyncio.get_running_loop(), work, self.tasks.append)
        await asyncio.sleep(0)


@pytest.fixture
def begun() -> Begun:
    return Begun()


async def test_what_waits_for_nothing_is_done_in_the_next_round_without_a_task(
    begun: Begun,
) -> None:
    order: list[Any] = []

    async def work(number: int) -> None:
        order.append((number, asyncio.current_task()))

    await begun.all(work(1), work(2), work(3))
    assert order == [(1, None), (2, None), (3, None)]
    assert begun.tasks == []


async def test_what_waits_goes_on_in_a_task_with_its_own_context(begun: Begun) -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    heard: list[Any] = []

    async def work(name: str) -> None:
        token = said.set(name)
        try:
            heard.append((name, await gate, said.get(), asyncio.current_task()))
            async with asyncio.timeout(1):  # wants a task, and has one
                await asyncio.sleep(0)
        finally:
            said.reset(token)

    await begun.all(work("one"), work("two"))
    assert heard == []
    gate.set_result("open")
    one, two = begun.tasks
    await asyncio.gather(one, two)
    assert heard == [("one", "open", "one", one), ("two", "open", "two", two)]
    assert said.get() == "nothing"


async def test_a_task_of_its_own_begins_where_nothing_is_waited_for(begun: Begun) -> None:
    found: list[Any] = []

    async def work() -> None:
        await asyncio.sleep(0)
        found.append(asyncio.current_task())

    await begun.all(work())
    await begun.tasks[0]
    assert found == begun.tasks


async def test_cancelling_reaches_the_place_that_waits_and_may_be_survived(begun: Begun) -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("cancelled")
        await asyncio.sleep(0)
        told.append("went on")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told.append("ended")

    await begun.all(work())
    (task,) = begun.tasks
    await asyncio.sleep(0)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == ["cancelled", "went on"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled", "went on", "ended"]


async def test_cancelling_what_then_ends_at_once_ends_its_task(begun: Begun) -> None:
    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return

    await begun.all(work())
    (task,) = begun.tasks
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_cancelling_before_the_task_has_begun_reaches_the_place_that_waits(
    begun: Begun,
) -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("cancelled")

    await begun.all(work())
    (task,) = begun.tasks
    task.cancel()
    await task
    assert told == ["cancelled"]


async def test_an_error_is_the_tasks_own(begun: Begun) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    await begun.all(work())
    with pytest.raises(ValueError, match="broken"):
        await begun.tasks[0]
