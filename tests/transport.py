"""The service called in this process as its own server calls it."""

from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from identity.http.messages import WHOLE_ANSWERS
from tests.databases import HTTP


def as_served(app: ASGIApp) -> ASGIApp:
    """`app`, told that its server takes whole answers: those that it gives become a start and a
    body, for whoever knows no other."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def taken(message: Message) -> None:
            if message["type"] != WHOLE_ANSWERS:
                await send(message)
                return
            lines = message["lines"].split(b"\r\n")
            assert lines.pop() == b""
            headers = [tuple(line.split(b": ", 1)) for line in lines]
            start = {"type": "http.response.start", "status": message["status"]}
            await send({**start, "headers": headers})
            body = b"" if scope["method"] == "HEAD" else message["body"]
            await send({"type": "http.response.body", "body": body})

        extensions = {**scope.get("extensions", {}), WHOLE_ANSWERS: {}}
        await app({**scope, "extensions": extensions}, receive, taken)

    return call


def served(app: ASGIApp, **options: Any) -> httpx.ASGITransport:
    ours = HTTP != "plain"
    return httpx.ASGITransport(app=as_served(app) if ours else app, **options)
