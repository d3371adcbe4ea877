"""Requests that begin in one round of the event loop, as the server begins those that come together
(`identity.http.wire.eager`)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from identity.http.wire.eager import Beginner


async def together(app: Any, requests: Sequence[httpx.Request], *, wait: bool = False) -> list[int]:
    """The statuses of their answers, in the order of these. `wait`: all have to wait for something
    and go on as tasks; else none does."""
    beginner, tasks, statuses = Beginner(), list[asyncio.Task[None]](), list[int]()
    for request in requests:
        scope = {
            "type": "http", "method": request.method, "path": request.url.path, "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }  # fmt: skip
        body = {"type": "http.request", "body": request.read()}

        async def receive(body: Any = body) -> Any:
            return body

        async def send(message: Any) -> None:
            if "status" in message:
                statuses.append(message["status"])

        work = app(scope, receive, send)
        beginner.add(asyncio.get_running_loop(), work, tasks.append)
    await asyncio.sleep(0)
    assert len(tasks) == (len(requests) if wait else 0)
    await asyncio.gather(*tasks)
    return statuses
