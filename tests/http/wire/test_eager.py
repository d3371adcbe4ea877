"""Requests begun without a task: all at once in the next round, and a task for what waits; work
done in a row, and answers that leave together."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from identity.http.wire import eager
from identity.http.wire.eager import Beginner, Outbox, Work
from identity.http.wire.in_a_row import Batched

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


@pytest.fixture
def order() -> list[str]:
    """What happened, first to last."""
    return []


def shared(order: list[str], name: str) -> Work:
    """A request whose middle part is `Batched`."""

    def middle() -> str:
        order.append(f"middle {name}")
        return name.upper()

    async def work() -> None:
        said.set(name)
        order.append(f"begin {name}")
        result = await Batched(middle)
        order.append(f"end {said.get()} {result}")

    return work()


async def test_what_is_batched_is_done_in_a_row_for_all_of_a_round(
    begun: Begun, order: list[str]
) -> None:
    async def plain() -> None:
        order.append("plain")

    await begun.all(shared(order, "a"), plain(), shared(order, "b"))
    begins, middles = ["begin a", "plain", "begin b"], ["middle a", "middle b"]
    assert order == [*begins, *middles, "end a A", "end b B"]
    assert begun.tasks == []


async def test_no_more_than_a_batch_waits_for_each_other(
    begun: Begun, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eager, "BATCH", 2)
    await begun.all(*(shared(order, name) for name in "abc"))
    first = ["begin a", "begin b", "middle a", "middle b", "end a A", "end b B"]
    assert order == [*first, "begin c", "middle c", "end c C"]


async def test_what_fails_in_a_batch_fails_for_the_one_who_asked(begun: Begun) -> None:
    told: list[str] = []

    def work(result: Callable[[], str]) -> Work:
        async def wait() -> None:
            try:
                told.append(await Batched(result))
            except ValueError as error:
                told.append(f"caught {error}")

        return wait()

    def broken() -> str:
        raise ValueError("broken")

    await begun.all(work(broken), work(lambda: "fine"))
    assert told == ["caught broken", "fine"]


async def test_one_request_may_have_several_batches_and_wait_between_them(begun: Begun) -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    told: list[Any] = []

    async def work() -> None:
        told.append(await Batched(lambda: "first"))
        told.append(await Batched(lambda: "second"))
        told.append(await gate)
        told.append(await Batched(lambda: "in a task"))

    await begun.all(work())
    assert told == ["first", "second"]
    gate.set_result("open")
    (task,) = begun.tasks
    await task
    assert told == ["first", "second", "open", "in a task"]


class Wire:
    """A transport that notes what is written to it, and when."""

    def __init__(self, order: list[str]) -> None:
        self._order = order
        self.closed = False

    def write(self, answer: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop's do
        self._order.append(answer.decode())


async def test_answers_leave_together_of_requests_begun_and_of_tasks(order: list[str]) -> None:
    loop, beginner, wire = asyncio.get_running_loop(), Beginner(), Wire(order)
    gate: asyncio.Future[None] = loop.create_future()
    tasks: list[asyncio.Task[None]] = []

    async def answer(name: str, wait: bool) -> None:
        order.append(f"begin {name}")
        if wait:
            await gate
        beginner.outbox.write(wire, f"answer {name}".encode())  # type: ignore[arg-type]
        order.append(f"end {name}")

    for name, wait in (("a", False), ("b", True), ("c", False), ("d", True)):
        beginner.add(loop, answer(name, wait), tasks.append)
    await asyncio.sleep(0)
    together = ["begin a", "end a", "begin b", "begin c", "end c", "begin d"]
    assert order == [*together, "answer a", "answer c"]
    order.clear()
    gate.set_result(None)
    await asyncio.gather(*tasks)
    await asyncio.sleep(0)
    assert order == ["end b", "end d", "answer b", "answer d"]


async def test_no_answer_is_held_for_longer_than_a_moment(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, wire = Outbox(), Wire(order)
    monkeypatch.setattr(eager, "HOLD", 0)
    for name in "abc":
        order.append(f"write {name}")
        outbox.write(wire, f"answer {name}".encode())  # type: ignore[arg-type]
    assert order == ["write a", "write b", "answer a", "answer b", "write c"]
    await asyncio.sleep(0)
    assert order[-1] == "answer c"


async def test_a_client_that_has_gone_takes_no_answer_of_others_along(order: list[str]) -> None:
    outbox, gone, there = Outbox(), Wire(order), Wire(order)
    outbox.write(gone, b"nobody reads this")  # type: ignore[arg-type]
    outbox.write(there, b"answer")  # type: ignore[arg-type]
    gone.closed = True
    await asyncio.sleep(0)
    assert order == ["answer"]


async def test_an_error_is_the_tasks_own(begun: Begun) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    await begun.all(work())
    with pytest.raises(ValueError, match="broken"):
        await begun.tasks[0]
