"""What clients do that push their requests (RFC 9126)."""

from datetime import timedelta
from typing import Any

import httpx
from sqlmodel import select

from identity.tokens.pushed import PushedRequest
from tests.browsing import Browser, Flow, Page
from tests.world import World


async def push(flow: Flow, **changed: str | None) -> tuple[httpx.Response, str]:
    """The answer, and the PKCE verifier that belongs to it."""
    parameters, verifier = flow.parameters(**changed)
    return await flow.world.api.post("/par", data=parameters | flow.client.post), verifier


async def pushed(flow: Flow, **changed: str | None) -> tuple[str, str]:
    """The `request_uri` of a push that must succeed, and the verifier."""
    answer, verifier = await push(flow, **changed)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_uri"]), verifier


async def come(browser: Browser, flow: Flow, request_uri: str, **beside: str) -> Page:
    """The browser brings it."""
    query = {"client_id": flow.client.id, "request_uri": request_uri, **beside}
    return await browser.get("/authorize", params=query)


def age(world: World, seconds: float) -> None:
    """Let every push lie further back, by any clock."""
    with world.change() as session:
        for row in session.exec(select(PushedRequest)).all():
            row.expires_at -= timedelta(seconds=seconds)
            session.add(row)


def rows(world: World) -> list[dict[str, Any]]:
    with world.change() as session:
        return [row.model_dump() for row in session.exec(select(PushedRequest)).all()]
