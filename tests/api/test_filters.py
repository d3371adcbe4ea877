"""What lists are asked for: filters that are heeded, and refused where nobody knows them."""

from typing import Any

import pytest

from identity import clock
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import World


async def found(boss: Actor, path: str, **filters: Any) -> list[str]:
    """Username, name or id of what the list shows."""
    page = await boss.done("GET", path, params=filters)
    return [item.get("username") or item.get("name") or item["id"] for item in page["items"]]


async def test_a_parameter_that_an_address_does_not_know_is_refused(world: World) -> None:
    """At every administrative address, as the OpenAPI document lists them, whoever asks."""
    boss, clerk = await acting.admin(world), await acting.clerk(world)
    document = (await world.api.get("/openapi.json")).json()
    asked = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if not path.startswith(("/users", "/clients", "/roles", "/scopes", "/keys", "/audit",
                                    "/stats")):  # fmt: skip
                continue
            asked += 1
            address = path.replace("{", "").replace("}", "")
            body = {"json": {}} if method in ("post", "put", "patch") else {}
            query = "?statsu=active"
            answer = await boss(method.upper(), f"{address}{query}", **body)
            assert "?statsu" in pointers(answer), (method, path)
            assert "statsu" in answer.json()["detail"]
            answer = await world.api.request(method, f"{address}{query}")
            problem(answer, 401)
            if operation["security"][0]["OAuth2"] not in ([], ["account"]):
                problem(await clerk(method.upper(), f"{address}{query}", **body), 403)
    assert asked > 35


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_parameter_comes_once(world: World) -> None:
    boss = await acting.admin(world)
    for query in ("status=active&status=disabled", "q=a&q=a", "limit=1&limit=200"):
        name = query.partition("=")[0]
        assert pointers(await boss("GET", f"/users?{query}")) == {f"?{name}"}
    answer = await boss("GET", "/users?x=1&x=2&y=3&q=a")
    assert pointers(answer) == {"?x", "?y"}
    assert "there are after, last_login_before, limit, never_logged_in, order, q" in answer.text
    answer = await boss("GET", "/users?" + "&".join(f"x{n}=1" for n in range(500)))
    assert len(problem(answer, 422)["errors"]) == 20
    assert pointers(await boss("GET", "/users?" + "x" * 5000 + "=1")) == {"?" + "x" * 100}
    problem(await boss("GET", "/users/me?x=1&x=2"), 422)  # beside FastAPI


async def test_users_are_found_by_status_role_and_last_login(world: World) -> None:
    with clock.frozen() as time:
        boss = await acting.admin(world)
        await boss.done("POST", "/roles", {"name": "picker"})
        world.user("ada", roles=["picker"])
        world.user("bob", roles=["picker"], status="disabled")
        world.user("eve")
        time.tick(60)
        noon = clock.utcnow()
        time.tick(60)
        await world.log_in("eve")
        now = clock.utcnow()
        time.tick(60)
        later = clock.utcnow()

    assert await found(boss, "/users", role="picker") == ["ada", "bob"]
    assert await found(boss, "/users", role="picker", status="active") == ["ada"]
    assert await found(boss, "/users", status="disabled") == ["bob"]
    assert await found(boss, "/users", status="disabled", q="ada") == []
    assert await found(boss, "/users", role="pick%") == []
    assert await found(boss, "/users", last_login_before=noon.isoformat()) == ["admin"]
    assert await found(boss, "/users", last_login_before=now.isoformat()) == ["admin"]
    assert await found(boss, "/users", last_login_before=later.isoformat()) == ["admin", "eve"]
    assert await found(boss, "/users", never_logged_in="true") == ["ada", "bob"]
    assert await found(boss, "/users", never_logged_in="false") == ["admin", "eve"]
    for query, where in (
        ("status=asleep", "?status"), ("last_login_before=yesterday", "?last_login_before"),
        ("last_login_before=2026-11-24T08:00:00", "?last_login_before"),
        ("never_logged_in=perhaps", "?never_logged_in"), ("role=%00", "?role"),
    ):  # fmt: skip
        assert pointers(await boss("GET", f"/users?{query}")) == {where}, query
    page = await boss.done("GET", "/users", params={"role": "picker", "limit": 1})
    rest = {"role": "picker", "limit": 1, "after": page["next"]}
    assert await found(boss, "/users", **rest) == ["bob"]


async def test_what_is_searched_for_means_itself(world: World) -> None:
    boss = await acting.admin(world)
    world.user("a_b", name="100 %")
    world.user("axb", name="100")
    assert await found(boss, "/users", q="A_B") == ["a_b"]
    assert await found(boss, "/users", q="%") == ["a_b"]
    assert await found(boss, "/users", q="/") == await found(boss, "/users", q="\\") == []


async def test_clients_are_found_by_grant_and_status(world: World) -> None:
    boss = await acting.admin(world)
    world.client("job", grants=["client_credentials"], scopes=[])
    world.client("shop", grants=["password", "refresh_token"])
    world.change_client("shop", status="disabled")

    async def ids(**filters: Any) -> list[str]:
        page = await boss.done("GET", "/clients", params=filters)
        return [client["id"] for client in page["items"]]

    assert await ids(grant="client_credentials") == ["job"]
    assert await ids(grant="password") == ["first-party", "shop"]
    assert await ids(grant="password", status="active") == ["first-party"]
    assert await ids(status="disabled", q="o") == ["shop"]
    for other in ("pass", "%", "_", '"', "password, ", "\\", 'password", "refresh_token'):
        assert await ids(grant=other) == [], other
    assert pointers(await boss("GET", "/clients?status=on")) == {"?status"}


async def test_roles_are_found_by_scope_and_scopes_by_audience(world: World) -> None:
    boss = await acting.admin(world)
    orders = "https://orders.example.com"
    world.scopes("orders:read", "orders:write", audience=orders, role="picker")
    world.scopes("stock:read", role="stocker")
    assert await found(boss, "/scopes", audience=orders) == ["orders:read", "orders:write"]
    assert await found(boss, "/scopes", audience=orders, q="write") == ["orders:write"]
    assert await found(boss, "/scopes", audience="https://orders") == []
    assert await found(boss, "/roles", scope="orders:read") == ["picker"]
    assert await found(boss, "/roles", scope="orders:read", q="stock") == []
    assert await found(boss, "/roles", scope="users:read") == ["admin"]


async def test_sessions_are_found_by_client(world: World) -> None:
    boss = await acting.admin(world)
    ada, shop = world.user(), world.client("shop")
    actor = Actor(world, await world.log_in())
    await world.log_in(client=shop)
    for asker, path in ((boss, f"/users/{ada.id}/sessions"), (actor, "/users/me/sessions")):
        for client, count in (("shop", 1), ("first-party", 1), ("shop%", 0)):
            page = await asker.done("GET", path, params={"client_id": client})
            assert len(page["items"]) == count
        assert len((await asker.done("GET", path))["items"]) == 2


async def test_every_list_of_the_contract_takes_limit_after_and_q(world: World) -> None:
    """And what is asked for matters: nothing has these words in it."""
    boss, user = await acting.admin(world), world.user()
    for path in ("/users", "/clients", "/roles", "/scopes", "/keys", "/audit",
                 f"/users/{user.id}/sessions", "/users/me/sessions"):  # fmt: skip
        page = await boss.done("GET", path, params={"limit": 1, "q": "no-such-words"})
        assert page == {"items": [], "next": None}, path


async def test_keys_sessions_and_events_are_found_by_words(world: World) -> None:
    boss, user = await acting.admin(world), world.user()
    await world.log_in()
    client = world.client()
    (key, *_) = (await boss.done("GET", "/keys"))["items"]
    assert await found_kids(boss, key["kid"][:8]) == [key["kid"]]
    sessions = f"/users/{user.id}/sessions"
    whole = await found(boss, sessions)
    assert len(whole) == 1
    assert await found(boss, sessions, q="FIRST-part") == whole
    assert await found(boss, sessions, q=client.id) == []
    await boss.done("PATCH", f"/users/{user.id}", json={"status": "disabled"})
    for words in ("user.disabled", "user.dis"):
        events = (await boss.done("GET", "/audit", params={"q": words}))["items"]
        assert {event["event"] for event in events} == {"user.disabled"}
    events = (await boss.done("GET", "/audit", params={"q": user.id}))["items"]
    assert events
    assert all(user.id in (event["actor"], event["subject"]) for event in events)


async def found_kids(boss: Actor, words: str) -> list[str]:
    return [key["kid"] for key in (await boss.done("GET", "/keys", params={"q": words}))["items"]]
