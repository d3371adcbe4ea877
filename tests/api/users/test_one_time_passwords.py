"""One-time passwords are good for a while, and an administrator sees when that is over."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from identity.app import create_app
from identity.authentication.password import WRONG
from identity.clock import frozen
from tests import acting
from tests.serving import running
from tests.world import World, refused


@pytest.fixture
async def app(make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
    app = create_app(make_settings(one_time_password_ttl="2h"))
    async with running(app):
        yield app


async def change(world: World, password: str) -> int:
    body = {"username": "ada", "current_password": password, "new_password": "walnut orchard 55"}
    return (await world.api.post("/password", json=body)).status_code


async def test_an_expired_one_time_password_is_a_wrong_one(world: World) -> None:
    user = world.user()
    with frozen() as clock:
        boss = await acting.admin(world)
        once = await boss.done("POST", f"/users/{user.id}/password")
        until = datetime.fromisoformat(once["expires_at"])
        assert abs(until.timestamp() - clock.at - 7200) < 1
        clock.tick(timedelta(hours=2, seconds=1))
        boss = await acting.admin(world)
        answer = await world.token(grant_type="password", username="ada", password=once["password"])
        assert refused(answer, 400, "invalid_grant") == WRONG
        assert await change(world, once["password"]) == 403
        shown = await boss.done("GET", f"/users/{user.id}")
        assert shown["must_change_password"] is True
        assert datetime.fromisoformat(shown["password_expires_at"]) == until
    reasons = [
        event.detail["why"] for event in await world.events("login") if event.detail.get("why")
    ]
    assert reasons == ["one-time password expired"] * 2


async def test_one_that_is_changed_in_time_is_replaced_by_one_that_stays(world: World) -> None:
    user = world.user()
    with frozen() as clock:
        boss = await acting.admin(world)
        once = await boss.done("POST", f"/users/{user.id}/password")
        clock.tick(timedelta(hours=1, minutes=59))
        assert await change(world, once["password"]) == 204
        clock.tick(timedelta(days=365))
        await world.log_in(password="walnut orchard 55")
        boss = await acting.admin(world)
        shown = await boss.done("GET", f"/users/{user.id}")
        assert (shown["must_change_password"], shown["password_expires_at"]) == (False, None)


async def test_the_last_administrator_who_can_log_in_is_given_none(world: World) -> None:
    """Whoever has one cannot log in, and it may get lost on its way."""
    boss = await acting.admin(world)
    me = await boss.done("GET", "/users/me")
    path = f"/users/{me['id']}/password"
    assert "last administrator" in acting.problem(await boss("POST", path), 409)["detail"]
    other = world.user("root", roles=["admin"])
    await boss.done("POST", f"/users/{other.id}/password")
    acting.problem(await boss("POST", path), 409)
    await boss.done("POST", f"/users/{other.id}/password")  # again: it takes nobody's place
    third = world.user("third", roles=["admin"])
    await boss.done("POST", path)
    root = acting.Actor(world, await world.log_in("third", scope="*"))
    acting.problem(await root("POST", f"/users/{third.id}/password"), 409)
