"""Start and stop: what the server is told of them, whether or not they succeed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from identity.http.stages import Stages


async def told(*, fails: str | None = None) -> list[dict[str, Any]]:
    """What is sent for one start and one stop; an exception is the last of it."""

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        if fails == "startup":
            raise RuntimeError("no start")
        yield
        if fails == "shutdown":
            raise RuntimeError("no stop")

    received: asyncio.Queue[Any] = asyncio.Queue()
    for stage in ("startup", "shutdown"):
        received.put_nowait({"type": f"lifespan.{stage}"})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await Stages(running)({"type": "lifespan"}, received.get, send)
    except RuntimeError as error:
        sent.append({"type": str(error)})
    return sent


async def test_a_start_and_a_stop_are_said_to_be_complete() -> None:
    assert await told() == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]


@pytest.mark.parametrize(("stage", "why"), [("startup", "no start"), ("shutdown", "no stop")])
async def test_the_server_is_told_what_failed_and_why(stage: str, why: str) -> None:
    *_, failed, raised = await told(fails=stage)
    assert failed["type"] == f"lifespan.{stage}.failed"
    assert why in failed["message"]
    assert raised == {"type": why}
