"""Somebody who calls the administration API, and what they may expect of its refusals."""

from typing import Any

import httpx

from tests.serving import ADMIN_PASSWORD
from tests.world import World, bearer


class Actor:
    """Requests with one access token."""

    def __init__(self, world: World, tokens: dict[str, Any]) -> None:
        self._api = world.api
        self.token: str = tokens["access_token"]
        self.refresh_token: str | None = tokens.get("refresh_token")

    async def __call__(
        self, method: str, path: str, json: Any = None, **kwargs: Any
    ) -> httpx.Response:
        headers = bearer(self.token) | kwargs.pop("headers", {})
        if json is not None:
            kwargs["json"] = json
        return await self._api.request(method, path, headers=headers, **kwargs)

    async def done(self, method: str, path: str, json: Any = None, **kwargs: Any) -> Any:
        """The answer's document, None where there is none, of a request that must succeed."""
        answer = await self(method, path, json, **kwargs)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


async def admin(world: World) -> Actor:
    """The first user, whose role `admin` holds every built-in scope."""
    return Actor(world, await world.log_in("admin", ADMIN_PASSWORD, scope="*"))


async def clerk(world: World, *scopes: str, username: str = "clerk") -> Actor:
    """A user whose only role, named like the user, holds these built-in scopes."""
    boss = await admin(world)
    await boss.done("POST", "/roles", {"name": username, "scopes": list(scopes)})
    world.user(username, roles=[username])
    return Actor(world, await world.log_in(username, scope="*"))


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Assert that this is a problem document (RFC 9457) of this status; the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= document.keys()
    assert document["status"] == status
    return document


def pointers(answer: httpx.Response) -> set[str]:
    """Where the input was wrong."""
    return {error["pointer"] for error in problem(answer, 422)["errors"]}
