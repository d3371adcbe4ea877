"""Who is held up by failed logins, as every process sees it, and letting them go."""

from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.clock import frozen
from identity.settings import Settings
from tests import acting
from tests.acting import problem
from tests.second_factors import with_app
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, World

FORM = {"grant_type": "password", "password": "wrong"}


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    settings: Settings = make_settings(login_max_failures=2)
    return settings


async def fail(world: World, username: str = "ada", times: int = 2) -> None:
    for _ in range(times):
        await world.token(**FORM, username=username)


async def test_who_is_locked_is_seen_and_released_whichever_process_counted(
    world: World, settings: Settings
) -> None:
    ada = world.user("ada")
    boss = await acting.admin(world)
    other = create_app(settings)
    async with (
        running(other),
        httpx.AsyncClient(transport=served(other), base_url=settings.issuer) as api,
    ):
        elsewhere = World(other, api)
        assert (await boss.done("GET", "/blocks"))["items"] == []
        await fail(elsewhere)
        (block,) = (await boss.done("GET", "/blocks"))["items"]
        assert (block["kind"], block["user_id"], block["username"]) == ("pair", ada.id, "ada")
        assert block["failures"] == 2
        login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        assert (await elsewhere.token(**login)).status_code == 429
        released = await boss("DELETE", f"/blocks/{block['id']}")
        assert released.status_code == 204
        assert (await elsewhere.token(**login)).status_code == 200
    assert (await boss.done("GET", "/blocks"))["items"] == []
    problem(await boss("DELETE", f"/blocks/{block['id']}"), 404)
    (event,) = await world.events("block.released")
    assert event.subject == ada.id and event.detail["kind"] == "pair"


async def test_one_failure_is_no_block_and_none_outlives_its_time(world: World) -> None:
    world.user("ada")
    boss = await acting.admin(world)
    with frozen() as clock:
        await fail(world, times=1)
        assert (await boss.done("GET", "/blocks"))["items"] == []
        await fail(world, times=1)
        assert len((await boss.done("GET", "/blocks"))["items"]) == 1
        clock.tick(world.services.settings.throttle.login_lockout)
        assert (await boss.done("GET", "/blocks"))["items"] == []


async def test_what_was_typed_for_a_name_is_shown_and_kept_nowhere(world: World) -> None:
    """People type their password where the name belongs."""
    boss = await acting.admin(world)
    await fail(world, "correct horse battery")
    (block,) = (await boss.done("GET", "/blocks"))["items"]
    assert block["kind"] == "pair" and block["user_id"] is block["username"] is None
    with world.change() as session:
        from sqlmodel import select

        from identity.authentication.throttle import LoginFailure

        rows = session.exec(select(LoginFailure)).all()
    assert not any("horse" in str(row.model_dump()) for row in rows)


async def test_an_address_is_held_up_for_every_account(world: World) -> None:
    boss = await acting.admin(world)
    for n in range(10):
        await fail(world, f"user{n}")
    found = (await boss.done("GET", "/blocks", params={"kind": "address"}))["items"]
    (block,) = found
    assert block["address"] and block["failures"] == 20
    same = await boss.done("GET", "/blocks", params={"address": block["address"], "limit": 3})
    assert len(same["items"]) == 3 and same["next"]
    seen = [item["id"] for item in same["items"]]
    while same["next"]:
        params = {"address": block["address"], "limit": 3, "after": same["next"]}
        same = await boss.done("GET", "/blocks", params=params)
        seen += [item["id"] for item in same["items"]]
    assert len(seen) == len(set(seen)) == 11


async def test_locked_codes_of_an_app_are_a_block_as_well(world: World) -> None:
    user, app = with_app(world)
    boss = await acting.admin(world)
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    for _ in range(2):
        await world.token(**form, otp=app.wrong())
    found = (await boss.done("GET", "/blocks", params={"user_id": user.id}))["items"]
    (block,) = [item for item in found if item["kind"] == "second_factor"]
    assert (await world.token(**form, otp=app.code())).status_code == 429
    await boss.done("DELETE", f"/blocks/{block['id']}")
    assert (await world.token(**form, otp=app.code())).status_code == 200


async def test_nobody_releases_who_holds_more(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write")
    reader = await acting.clerk(world, "users:read", username="reader")
    await fail(world, "admin")
    (block,) = (await clerk.done("GET", "/blocks"))["items"]
    problem(await clerk("DELETE", f"/blocks/{block['id']}"), 403)
    problem(await reader("DELETE", f"/blocks/{block['id']}"), 403)
    assert (await clerk.done("GET", "/blocks"))["items"] == [block]
