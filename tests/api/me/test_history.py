"""`GET /users/me/history`: what happened to one's own account, and to nobody else's."""

from datetime import timedelta
from typing import Any

from identity import clock
from identity.records import audit
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import World, bearer


async def history(actor: Actor, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await actor.done("GET", "/users/me/history", params={"limit": 2, **params})
        found += page["items"]
        if page["next"] is None:
            return found
        params["after"] = page["next"]


async def test_ones_own_history_newest_first_and_what_others_did_without_where(
    world: World,
) -> None:
    user, boss = world.user("ada"), await acting.admin(world)
    world.user("bob")
    ada = Actor(world, await world.log_in("ada"))
    await boss.done("PATCH", f"/users/{user.id}", {"name": "Ada"})
    await ada.done("PATCH", "/users/me", {"name": "Countess"})
    await world.events("login")
    told = await history(ada)
    assert [each["event"] for each in told] == [
        "user.updated", "user.updated", "login", "user.created"
    ]  # fmt: skip
    assert [each["by"] for each in told][:3] == ["you", "user", "user"] or told[2]["by"] == "you"
    assert told[0]["address"] and told[1]["address"] is None and told[1]["detail"] == {}
    assert await history(Actor(world, await world.log_in("bob"))) != told


async def test_it_goes_back_ninety_days(world: World) -> None:
    with clock.frozen() as time:
        user = world.user("ada")
        with world.change() as session:
            audit.record(session, "user.enabled", subject=user.id)
        time.tick(timedelta(days=91))
        ada = Actor(world, await world.log_in("ada"))
        await world.events("login")
        assert "user.enabled" not in {each["event"] for each in await history(ada)}


async def test_a_client_has_none_and_a_wrong_cursor_is_said(world: World) -> None:
    world.user("ada")
    robot = world.client("robot")
    own = await world.act(robot)
    answer = await world.api.get("/users/me/history", headers=bearer(own["access_token"]))
    problem(answer, 403)
    problem(await world.api.get("/users/me/history"), 401)
    ada = Actor(world, await world.log_in("ada"))
    assert pointers(await ada("GET", "/users/me/history?after=YWRh")) == {"?after"}
