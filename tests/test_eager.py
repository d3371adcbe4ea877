"""Requests begun without a task: all at once in the next round, and a task for what waits."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from identity.serving import eager
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


class Wire:
    """A transport that notes what is written to it, and when."""

    def __init__(self, order: list[str]) -> None:
        self._order = order

    def write(self, answer: bytes) -> None:
        self._order.append(answer.decode())


async def test_answers_leave_together_those_that_waited_at_once() -> None:
    beginner, loop = Beginner(), asyncio.get_running_loop()
    order: list[str] = []
    wire: Any = Wire(order)
    tasks: list[asyncio.Task[None]] = []

    async def answer(name: str, wait: bool) -> None:
        order.append(f"begin {name}")
        if wait:
            await asyncio.sleep(0)
        beginner.write(wire, f"answer {name}".encode())
        order.append(f"end {name}")

    for name, wait in (("a", False), ("b", True), ("c", False)):
        beginner.add(loop, answer(name, wait), tasks.append)
    await asyncio.sleep(0)
    together = ["begin a", "end a", "begin b", "begin c", "end c", "answer a", "answer c"]
    assert order == together
    await asyncio.gather(*tasks)
    assert order == [*together, "answer b", "end b"]


async def test_no_answer_is_held_for_longer_than_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beginner, loop = Beginner(), asyncio.get_running_loop()
    order: list[str] = []
    wire: Any = Wire(order)
    monkeypatch.setattr(eager, "HOLD", 0)

    async def answer(name: str) -> None:
        order.append(f"begin {name}")
        beginner.write(wire, f"answer {name}".encode())

    for name in "ab":
        beginner.add(loop, answer(name), lambda _: None)
    await asyncio.sleep(0)
    assert order == ["begin a", "answer a", "begin b", "answer b"]


async def test_an_error_is_the_tasks_own(begun: Begun) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    await begun.all(work())
    with pytest.raises(ValueError, match="broken"):
        await begun.tasks[0]
