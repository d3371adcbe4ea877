"""Nobody becomes more than they are through those they administer."""

import asyncio
from typing import Any

import pytest

from tests import acting
from tests.acting import problem
from tests.world import PASSWORD, World


async def id_of(world: World, username: str) -> str:
    boss = await acting.admin(world)
    for user in (await boss.done("GET", "/users"))["items"]:
        if user["username"] == username:
            return str(user["id"])
    raise LookupError(username)


async def test_nobody_gives_roles_that_hold_more_than_they_do(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write")
    problem(await clerk("POST", "/users", {"username": "eve", "roles": ["admin"]}), 403)
    me = await id_of(world, "clerk")
    problem(await clerk("PUT", f"/users/{me}/roles", ["clerk", "admin"]), 403)
    eve = await clerk.done("POST", "/users", {"username": "eve", "roles": ["clerk"]})
    problem(await clerk("PUT", f"/users/{eve['id']}/roles", ["admin"]), 403)
    assert (await clerk.done("GET", f"/users/{eve['id']}"))["roles"] == ["clerk"]


ATTACKS: list[tuple[str, str, Any]] = [
    ("POST", "/password", None),
    ("POST", "/password", {"password": "walnut orchard 55"}),
    ("PATCH", "", {"email": "clerk@example.com"}),
    ("PATCH", "", {"username": "boss"}),
    ("PATCH", "", {"status": "disabled"}),
    ("PUT", "/roles", []),
    ("DELETE", "", None),
    ("DELETE", "/sessions", None),
]


async def test_nobody_touches_a_user_who_holds_more(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write")
    admin = await id_of(world, "admin")
    before = await clerk.done("GET", f"/users/{admin}")
    for method, path, body in ATTACKS:
        problem(await clerk(method, f"/users/{admin}{path}", body), 403)
    after = await clerk.done("GET", f"/users/{admin}")
    assert after | {"last_login_at": None} == before | {"last_login_at": None}
    assert (await clerk.done("GET", f"/users/{admin}/sessions"))["items"]


async def test_a_narrow_token_of_an_administrator_is_narrow_here_too(world: World) -> None:
    await acting.admin(world)
    tokens = await world.log_in("admin", acting.ADMIN_PASSWORD, scope="users:read users:write")
    narrow = acting.Actor(world, tokens)
    problem(await narrow("POST", "/users", {"username": "eve", "roles": ["admin"]}), 403)
    admin = await id_of(world, "admin")
    problem(await narrow("POST", f"/users/{admin}/password"), 403)


async def test_a_client_grants_no_more_than_its_own_scopes(world: World) -> None:
    robot = world.client("robot", scopes=["users:read", "users:write"])
    actor = acting.Actor(world, await world.act(robot, scope="*"))
    problem(await actor("POST", "/users", {"username": "eve", "roles": ["admin"]}), 403)
    await actor.done("POST", "/users", {"username": "eve"})


async def test_nobody_gives_or_takes_over_a_role_that_they_do_not_have(world: World) -> None:
    """It holds no scope of ours, but siblings go by its name."""
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "cashier"})
    clerk = await acting.clerk(world, "users:read", "users:write")
    me = await id_of(world, "clerk")
    problem(await clerk("PUT", f"/users/{me}/roles", ["clerk", "cashier"]), 403)
    problem(await clerk("POST", "/users", {"username": "eve", "roles": ["cashier"]}), 403)
    cashier = world.user("mara", roles=["cashier"])
    session = (await world.log_in("mara"))["access_token"]
    mine = (await clerk.done("GET", f"/users/{cashier.id}/sessions"))["items"][0]["id"]
    one: tuple[str, str, Any] = ("DELETE", f"/sessions/{mine}", None)
    enable: tuple[str, str, Any] = ("PATCH", "", {"status": "active"})
    for method, path, body in (*ATTACKS, one, enable):
        problem(await clerk(method, f"/users/{cashier.id}{path}", body), 403)
    assert await world.active(session)
    # Who has the role may hand it on, ...
    await boss.done("PUT", f"/users/{me}/roles", ["clerk", "cashier"])
    eve = await clerk.done("POST", "/users", {"username": "eve", "roles": ["cashier"]})
    await clerk.done("POST", f"/users/{cashier.id}/password")
    # ... until it is taken away; who decides what roles there are needs none of them.
    await boss.done("PUT", f"/users/{me}/roles", ["clerk"])
    problem(await clerk("PUT", f"/users/{eve['id']}/roles", []), 403)
    await boss.done("PATCH", "/roles/clerk",
                    {"scopes": ["users:read", "users:write", "roles:write"]})  # fmt: skip
    warden = acting.Actor(world, await world.log_in("clerk", scope="*"))
    await warden.done("PUT", f"/users/{me}/roles", ["clerk", "cashier"])
    problem(await warden("PUT", f"/users/{me}/roles", ["clerk", "admin"]), 403)


async def test_a_client_has_no_role_to_hand_on(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "cashier"})
    rights = "users:read users:write"
    robot = world.client("robot", scopes=rights.split())
    actor = acting.Actor(world, await world.act(robot, scope=rights))
    cashier = world.user("mara", roles=["cashier"])
    problem(await actor("POST", "/users", {"username": "eve", "roles": ["cashier"]}), 403)
    problem(await actor("POST", f"/users/{cashier.id}/password"), 403)
    world.change_client("robot", scopes=["users:read", "users:write", "roles:write"])
    actor = acting.Actor(world, await world.act(robot, scope=f"{rights} roles:write"))
    await actor.done("POST", "/users", {"username": "eve", "roles": ["cashier"]})


async def test_the_last_active_administrator_stays_one(world: World) -> None:
    boss = await acting.admin(world)
    world.user("retired", roles=["admin"], status="disabled")
    path = f"/users/{await id_of(world, 'admin')}"
    problem(await boss("PATCH", path, {"status": "disabled"}), 409)
    problem(await boss("DELETE", path), 409)
    problem(await boss("PUT", f"{path}/roles", []), 409)
    assert (await boss("GET", "/users")).status_code == 200
    world.user("second", roles=["admin"])
    assert (await boss("PUT", f"{path}/roles", [])).status_code == 200


async def test_an_administrator_who_cannot_log_in_is_not_the_one_who_stays(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("POST", "/users", {"username": "nobody", "roles": ["admin"]})
    world.user("moved", roles=["admin"], password_hash="$unheard-of$1$x")
    world.user("new", roles=["admin"], must_change_password=True)
    path = f"/users/{await id_of(world, 'admin')}"
    problem(await boss("PATCH", path, {"status": "disabled"}), 409)
    problem(await boss("DELETE", path), 409)
    problem(await boss("PUT", f"{path}/roles", []), 409)
    change = {"username": "new", "current_password": PASSWORD, "new_password": "walnut orchard 55"}
    assert (await world.api.post("/password", json=change)).status_code == 204
    assert (await boss("DELETE", path)).status_code == 204


@pytest.mark.parametrize("way", ["delete", "strip", "disable"])
async def test_the_last_two_administrators_cannot_both_go_at_once(world: World, way: str) -> None:
    """Each removes itself: neither takes the other's right to do so away."""
    method, below, body = {
        "delete": ("DELETE", "", None),
        "strip": ("PUT", "/roles", []),
        "disable": ("PATCH", "", {"status": "disabled"}),
    }[way]
    await acting.admin(world)
    world.user("second", roles=["admin"])
    world.user("sleeper", roles=["admin"], must_change_password=True)
    pair = [
        (f"/users/{await id_of(world, name)}{below}", actor)
        for name, actor in (
            ("second", acting.Actor(world, await world.log_in("second"))),
            ("admin", await acting.admin(world)),
        )
    ]
    answers = await asyncio.gather(*(actor(method, path, body) for path, actor in pair))
    assert sorted(answer.status_code // 100 for answer in answers) == [2, 4]


async def test_of_two_administrators_who_disable_each_other_at_once_one_is_left(
    world: World,
) -> None:
    await acting.admin(world)
    admin = await id_of(world, "admin")
    for number in range(8):
        first = await acting.admin(world)
        name = f"rival{number}"
        world.user(name, roles=["admin"])
        rival = await id_of(world, name)
        second = acting.Actor(world, await world.log_in(name, scope="*"))
        answers = await asyncio.gather(
            first("PATCH", f"/users/{rival}", {"status": "disabled"}),
            second("PATCH", f"/users/{admin}", {"status": "disabled"}),
        )
        assert {answer.status_code for answer in answers} <= {200, 401, 409}
        assert [answer.status_code for answer in answers].count(200) == 1
        if answers[1].is_success:  # make `admin` the survivor again
            await second.done("PATCH", f"/users/{admin}", {"status": "active"})
            first = await acting.admin(world)
            await first.done("DELETE", f"/users/{rival}")
