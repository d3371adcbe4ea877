"""Everybody's sessions: found by filters, ended one or many."""

from typing import Any

from tests import acting
from tests.acting import Actor, pointers, problem
from tests.browsing import Browser, Flow, code_client
from tests.world import World, refused


async def listed(actor: Actor, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await actor.done("GET", "/sessions", params=params))["items"]
    return items


async def test_sessions_are_found_by_user_client_kind_and_time(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    shop = world.client("shop")
    web = Flow(world, code_client(world, "web"))
    boss = await acting.admin(world)
    await world.log_in("ada", client=shop)
    await world.log_in("bob", client=shop)
    await web.tokens(Browser(world.api))

    everybodys = await listed(boss)
    assert [s["username"] for s in everybodys] == ["ada", "bob", "ada", "admin"]
    assert all("token" not in key for s in everybodys for key in s)
    assert [s["client_id"] for s in await listed(boss, user_id=ada.id)] == ["web", "shop"]
    assert {s["user_id"] for s in await listed(boss, client_id="shop")} == {ada.id, bob.id}
    (browser,) = await listed(boss, kind="browser")
    assert browser["user_id"] == ada.id and browser["client_id"] is None
    assert await listed(boss, kind="browser", client_id="web") == [browser]
    assert await listed(boss, kind="browser", client_id="shop") == []
    assert await listed(boss, address="203.0.113.1") == []
    address = everybodys[0]["address"]
    assert await listed(boss, address=address) == everybodys
    since = everybodys[1]["created_at"]
    assert await listed(boss, since=since) == everybodys[:2]
    assert await listed(boss, until=since) == everybodys[2:]

    pages, after = [], None
    while True:
        params = {"limit": 1} | ({"after": after} if after else {})
        page = await boss.done("GET", "/sessions", params=params)
        pages += page["items"]
        if (after := page["next"]) is None:
            break
    assert pages == everybodys


async def test_one_ends_and_its_tokens_with_it(world: World) -> None:
    world.user("ada")
    web = Flow(world, code_client(world, "web"))
    boss = await acting.admin(world)
    tokens, browser = await world.log_in(), Browser(world.api)
    by_code = await web.tokens(browser)
    (mine,) = [s for s in await listed(boss) if s["client_id"] == "first-party"][:1]
    await boss.done("DELETE", f"/sessions/{mine['id']}")
    assert not await world.active(tokens["access_token"])
    (at_browser,) = await listed(boss, kind="browser")
    await boss.done("DELETE", f"/sessions/{at_browser['id']}")
    assert not await world.active(by_code["access_token"])
    assert (await browser.get("/sign-in")).forms
    problem(await boss("DELETE", f"/sessions/{at_browser['id']}"), 404)


async def test_many_are_counted_first_and_end_together(world: World) -> None:
    for name in ("ada", "bob", "cleo"):
        world.user(name)
    shop = world.client("shop")
    boss = await acting.admin(world)
    tokens = [await world.log_in(name, client=shop) for name in ("ada", "bob", "cleo", "ada")]
    elsewhere = await world.log_in("ada")
    which = {"client_id": "shop"}
    counted = await boss.done("POST", "/sessions/end", which | {"preview": True})
    assert counted == {"count": 4, "preview": True}
    assert len(await listed(boss, client_id="shop")) == 4
    assert await boss.done("POST", "/sessions/end", which) == {"count": 4, "preview": False}
    for each in tokens:
        assert not await world.active(each["access_token"])
        refused(await world.refresh(each["refresh_token"], shop), 400, "invalid_grant")
    assert await world.active(elsewhere["access_token"])
    assert await boss.done("POST", "/sessions/end", which) == {"count": 0, "preview": False}


async def test_those_named_end_and_no_others(world: World) -> None:
    world.user("ada")
    boss = await acting.admin(world)
    kept, ended = await world.log_in(), await world.log_in()
    newest, *_ = await listed(boss)
    answer = await boss.done("POST", "/sessions/end", {"ids": [newest["id"], "no such"]})
    assert answer["count"] == 1
    assert not await world.active(ended["access_token"])
    assert await world.active(kept["access_token"])


async def test_more_than_one_transaction_ends_all_of_them(world: World, monkeypatch: Any) -> None:
    from identity.authentication import all_sessions

    monkeypatch.setattr(all_sessions.end_some, "__kwdefaults__", {"most": 2})
    world.user("ada")
    boss = await acting.admin(world)
    shop = world.client("shop")
    for _ in range(5):
        await world.log_in(client=shop)
    assert (await boss.done("POST", "/sessions/end", {"client_id": "shop"}))["count"] == 5


async def test_nobody_ends_those_of_who_holds_more_one_by_one_or_by_the_many(world: World) -> None:
    world.user("ada")
    boss = await acting.admin(world)
    clerk = await acting.clerk(world, "users:read", "users:write")
    await world.log_in()
    everybodys = await listed(clerk)
    (admins, *_) = [s for s in everybodys if s["username"] == "admin"]
    problem(await clerk("DELETE", f"/sessions/{admins['id']}"), 403)
    address = {"address": admins["address"]}
    mine = {s["id"] for s in everybodys if s["username"] != "admin"}
    counted = await clerk.done("POST", "/sessions/end", address | {"preview": True})
    assert counted["count"] == len(mine)
    assert (await clerk.done("POST", "/sessions/end", address))["count"] == len(mine)
    assert await world.active(boss.token)
    assert not await world.active(clerk.token)


async def test_nobody_ends_many_sessions_of_who_has_a_role_that_they_may_not_give(
    world: World,
) -> None:
    """The role holds no scope of ours, but siblings go by its name."""
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "cashier"})
    world.user("mara", roles=["cashier"])
    cashiers = (await world.log_in("mara"))["access_token"]
    address = {"address": (await listed(boss))[0]["address"]}
    clerk = await acting.clerk(world, "users:read", "users:write")
    await clerk.done("POST", "/sessions/end", address)
    assert await world.active(cashiers)
    warden = await acting.clerk(world, "users:write", "roles:write", username="warden")
    await warden.done("POST", "/sessions/end", address)
    assert not await world.active(cashiers)
    assert await world.active(boss.token)


async def test_an_end_without_a_filter_is_a_mistake(world: World) -> None:
    boss = await acting.admin(world)
    for body in ({}, {"preview": True}, {"kind": "browser"}):
        problem(await boss("POST", "/sessions/end", body), 422)
    assert pointers(await boss("POST", "/sessions/end", {"ids": []})) == {"/ids"}
    reader = await acting.clerk(world, "users:read")
    problem(await reader("POST", "/sessions/end", {"client_id": "shop"}), 403)
