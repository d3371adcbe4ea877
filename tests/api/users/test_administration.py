"""What administrators do with users."""

import asyncio
import re
from typing import Any

import pytest

from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import PASSWORD, World, refused

ADA = {"username": "ada", "email": "Ada@Example.com", "name": "Ada", "password": PASSWORD}
SHOWN = {
    "id", "username", "email", "email_verified", "name", "status", "roles",
    "created_at", "updated_at", "last_login_at", "must_change_password", "password_expires_at",
    "given_name", "family_name", "locale", "zoneinfo", "picture", "phone_number",
    "phone_number_verified", "address", "attributes",
}  # fmt: skip


async def create(boss: Actor, **changed: Any) -> dict[str, Any]:
    user: dict[str, Any] = await boss.done("POST", "/users", ADA | changed)
    return user


async def test_a_new_user_is_shown_without_a_hash_and_logs_in_by_either_name(world: World) -> None:
    boss = await acting.admin(world)
    answer = await boss("POST", "/users", ADA | {"username": "ADA"})
    user = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/users/{user['id']}")
    assert set(user) == SHOWN
    assert (user["username"], user["email"]) == ("ada", "Ada@example.com")
    assert (user["status"], user["roles"], user["email_verified"]) == ("active", [], False)
    assert await boss.done("GET", answer.headers["location"]) == user
    await world.log_in("Ada")
    await world.log_in("ada@example.com")
    assert (await boss.done("GET", f"/users/{user['id']}"))["last_login_at"] is not None


async def test_a_user_without_a_password_cannot_log_in_until_someone_sets_it(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss, password=None)
    login = {"grant_type": "password", "username": "ada"}
    refused(await world.token(**login, password=PASSWORD), 400, "invalid_grant")
    made = await boss.done("POST", f"/users/{user['id']}/password")
    answer = await world.token(**login, password=made["password"])
    assert "POST /password" in refused(answer, 400, "invalid_grant")


async def test_what_logs_one_user_in_cannot_name_another(world: World) -> None:
    boss = await acting.admin(world)
    await create(boss)
    other = {"username": "bob", "email": "bob@example.com"}
    for taken in (
        {"username": "ADA"},
        {"email": "ada@EXAMPLE.com"},
        {"username": "ada@example.com"},
    ):
        problem(await boss("POST", "/users", other | taken), 409)
    bob = await boss.done("POST", "/users", other)
    for taken in (
        {"username": "ADA"},
        {"email": "ada@EXAMPLE.com"},
        {"username": "ada@example.com"},
    ):
        problem(await boss("PATCH", f"/users/{bob['id']}", taken), 409)
    assert await boss.done("GET", f"/users/{bob['id']}") == bob


async def test_of_two_who_take_a_name_at_once_one_gets_it(world: World) -> None:
    boss = await acting.admin(world)
    ids = [(await boss.done("POST", "/users", {"username": f"u{n}"}))["id"] for n in range(4)]
    answers = await asyncio.gather(
        *(boss("PATCH", f"/users/{user_id}", {"username": "wanted"}) for user_id in ids),
        boss("POST", "/users", {"username": "wanted"}),
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([200, 409, 409, 409, 409], [201, 409, 409, 409, 409])


BAD_USERS: list[tuple[Any, str]] = [
    ({}, "/username"),
    ({"username": ""}, "/username"),
    ({"username": "a b"}, "/username"),
    ({"username": "x" * 65}, "/username"),
    ({"username": "a\0b"}, "/username"),
    ({"username": 7}, "/username"),
    ({"username": "eve", "email": "nobody"}, "/email"),
    ({"username": "eve", "password": "eve"}, "/password"),
    ({"username": "eve", "password": "password"}, "/password"),
    ({"username": "eve", "password": "x" * 1025}, "/password"),
    ({"username": "eve", "roles": ["no such"]}, "/roles"),
    ({"username": "eve", "name": "\0"}, "/name"),
    ({"username": "eve", "name": "n" * 201}, "/name"),
    ({"username": "eve", "a/b~": 1}, "/a~1b~0"),
    ([], ""),
]


async def test_bad_input_is_refused_and_says_where(world: World) -> None:
    boss = await acting.admin(world)
    for body, where in BAD_USERS:
        assert pointers(await boss("POST", "/users", body)) == {where}, body


async def test_a_patch_changes_what_it_names_and_null_removes(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    path = f"/users/{user['id']}"
    patched = await boss.done("PATCH", path, {"name": None, "email_verified": True})
    assert patched == user | {
        "name": None, "email_verified": True, "updated_at": patched["updated_at"],
    }  # fmt: skip
    changed = await boss.done("PATCH", path, {"email": "new@example.com"})
    assert not changed["email_verified"]  # the old address was
    gone = await boss.done(
        "PATCH", path,
        content=b'{"email": null, "username": "countess"}',
        headers={"content-type": "application/merge-patch+json"},
    )  # fmt: skip
    assert (gone["email"], gone["username"]) == (None, "countess")
    await world.log_in("countess")
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    refused(answer, 400, "invalid_grant")


BAD_PATCHES: list[tuple[Any, str]] = [
    ({"nome": "x"}, "/nome"),
    ({"id": "x"}, "/id"),
    ({"username": None}, "/username"),
    ({"status": "locked"}, "/status"),
    ({"status": None}, "/status"),
    ({"email_verified": "yes"}, "/email_verified"),
    ({"roles": ["admin"]}, "/roles"),
    ({"password_hash": "x"}, "/password_hash"),
    ([{"op": "remove"}], ""),
]


async def test_a_patch_of_anything_else_is_refused(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    for patch, where in BAD_PATCHES:
        assert pointers(await boss("PATCH", f"/users/{user['id']}", patch)) == {where}, patch


async def test_a_disabled_user_is_out_at_once_and_for_good(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    tokens = await world.log_in()
    path = f"/users/{user['id']}"
    assert (await boss.done("PATCH", path, {"status": "disabled"}))["status"] == "disabled"
    assert not await world.active(tokens["access_token"])
    assert not await world.active(tokens["refresh_token"])
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    refused(answer, 400, "invalid_grant")
    await boss.done("PATCH", path, {"status": "active"})
    assert not await world.active(tokens["access_token"])
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    await world.log_in()


async def test_a_deleted_user_is_gone_with_all_tokens(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    tokens = await world.log_in()
    path = f"/users/{user['id']}"
    assert (await boss("DELETE", path)).status_code == 204
    assert not await world.active(tokens["access_token"])
    assert not await world.active(tokens["refresh_token"])
    problem(await boss("GET", path), 404)
    problem(await boss("DELETE", path), 404)
    assert (await create(boss))["id"] != user["id"]  # the names are free again


async def test_a_reset_password_is_for_one_use(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    tokens = await world.log_in()
    answer = await boss("POST", f"/users/{user['id']}/password")
    assert answer.headers["cache-control"] == "no-store"
    once = answer.json()
    assert once["must_change_password"] is True
    assert not await world.active(tokens["access_token"])
    login = {"grant_type": "password", "username": "ada"}
    refused(await world.token(**login, password=PASSWORD), 400, "invalid_grant")
    change = {"username": "ada", "current_password": once["password"], "new_password": "x"}
    assert pointers(await world.api.post("/password", json=change)) == {"/new_password"}
    change["new_password"] = once["password"]
    assert pointers(await world.api.post("/password", json=change)) == {"/new_password"}
    change["new_password"] = "walnut orchard 55"
    assert (await world.api.post("/password", json=change)).status_code == 204
    await world.log_in("ada", "walnut orchard 55")


async def test_an_administrator_may_choose_the_one_time_password(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    path = f"/users/{user['id']}/password"
    assert pointers(await boss("POST", path, {"password": "ada"})) == {"/password"}
    once = await boss.done("POST", path, {"password": "walnut orchard 55"})
    assert once.pop("expires_at")
    assert once == {"password": "walnut orchard 55", "must_change_password": True}


@pytest.mark.parametrize("bare", [False, True])
async def test_roles_take_effect_on_tokens_already_issued(world: World, bare: bool) -> None:
    boss = await acting.admin(world)
    user = await create(boss, roles=["admin"])
    token = (await world.log_in(scope="*"))["access_token"]
    assert "keys:write" in (await world.introspect(token))["scope"]
    await boss.done("POST", "/roles", {"name": "reader", "scopes": ["users:read"]})
    roles = ["reader", "reader"]
    path = f"/users/{user['id']}/roles"
    answer = await boss.done("PUT", path, roles if bare else {"roles": roles})
    assert answer["roles"] == ["reader"]
    live = await world.introspect(token)
    assert (live["scope"], live["roles"]) == ("account users:read", ["reader"])


BAD_ROLES: list[tuple[Any, str]] = [
    ({"roles": ["reader", 1]}, "/roles/1"),
    ({"roles": "reader"}, "/roles"),
    ({"rolls": []}, "/rolls"),
    ({"roles": [], "rolls": []}, "/rolls"),
    ({}, "/roles"),
    (["reader", 1], "/1"),
    ([["reader"]], "/0"),
    ("reader", ""),
    (None, ""),
]


async def test_what_is_wrong_with_roles_is_said_of_the_form_that_was_sent(world: World) -> None:
    boss = await acting.admin(world)
    path = f"/users/{(await create(boss))['id']}/roles"
    for body, where in BAD_ROLES:
        answer = await boss("PUT", path, body)
        assert where in pointers(answer), body
        assert len(pointers(answer)) <= 2, body
        assert not re.search(r"Roles|list\[|function|\(object|\(list", answer.text), answer.text


async def test_sessions_are_listed_and_ended_one_by_one_or_all(world: World) -> None:
    boss = await acting.admin(world)
    path = f"/users/{(await create(boss))['id']}/sessions"
    tokens = [(await world.log_in())["access_token"] for _ in range(3)]
    newest, *others = (await boss.done("GET", path))["items"]
    assert len(others) == 2
    assert newest["client_id"] == "first-party"
    assert newest["address"] == "127.0.0.1"
    await boss.done("DELETE", f"{path}/{newest['id']}")
    problem(await boss("DELETE", f"{path}/{newest['id']}"), 404)
    assert [await world.active(token) for token in tokens] == [True, True, False]
    assert (await boss.done("GET", path))["items"] == others
    await boss.done("DELETE", path)
    assert [await world.active(token) for token in tokens] == [False, False, False]
    assert (await boss.done("GET", path))["items"] == []


async def test_a_session_is_reached_only_through_its_own_user(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    mine = (await boss.done("GET", "/users/me/sessions"))["items"][0]
    problem(await boss("DELETE", f"/users/{user['id']}/sessions/{mine['id']}"), 404)


async def test_search_finds_parts_of_names_in_any_case(world: World) -> None:
    boss = await acting.admin(world)
    for name, full in (("ada", "Ada Lovelace"), ("a_b", "50% Off"), ("axb", None)):
        await boss.done("POST", "/users", {"username": name, "name": full})

    async def found(q: str) -> list[str]:
        items = (await boss.done("GET", "/users", params={"q": q}))["items"]
        return [user["username"] for user in items]

    assert await found("LOVE") == ["ada"]
    assert await found("a_b") == ["a_b"]  # not a wildcard
    assert await found("0%") == ["a_b"]
    assert await found("\\") == []
    assert await found("nobody") == []
    assert await found("") == ["admin", "ada", "a_b", "axb"]


ACTS = [
    ("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("DELETE", "/x"),
    ("POST", "/x/password"), ("PUT", "/x/roles"), ("GET", "/x/sessions"),
    ("DELETE", "/x/sessions"), ("DELETE", "/x/sessions/y"),
]  # fmt: skip


async def test_every_act_needs_its_scope(world: World) -> None:
    reader = await acting.clerk(world, "users:read", username="reader")
    writer = await acting.clerk(world, "users:write", username="writer")
    for method, path in ACTS:
        scope, weak = ("users:read", writer) if method == "GET" else ("users:write", reader)
        answer = await world.api.request(method, f"/users{path}", json={})
        problem(answer, 401)
        challenges = answer.headers["www-authenticate"]
        assert challenges.startswith(f'Bearer realm="identity", scope="{scope}", ')
        assert "/.well-known/oauth-protected-resource" in challenges  # RFC 9728 §5.1
        assert ", DPoP algs=" in challenges
        answer = await weak(method, f"/users{path}", {})
        problem(answer, 403)
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_an_id_of_any_shape_is_not_found(world: World) -> None:
    boss = await acting.admin(world)
    for name in ("none", "%00", "a%00b", "x" * 5000, "%ff", "me%20", "%F0%9F%A6%86"):
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None), ("PUT", "/roles", []),
            ("POST", "/password", None), ("GET", "/sessions", None),
            ("DELETE", f"/sessions/{name}", None),
        ):  # fmt: skip
            problem(await boss(method, f"/users/{name}{path}", body), 404)


async def test_what_was_done_is_on_record_with_who_did_it(world: World) -> None:
    boss = await acting.admin(world)
    user = await create(boss)
    await boss.done("PATCH", f"/users/{user['id']}", {"status": "disabled"})
    (event,) = await world.events("user.disabled")
    me = (await world.me(boss.token)).json()
    assert (event.subject, event.actor, event.actor_type) == (user["id"], me["id"], "user")
    assert event.address == "127.0.0.1"
    assert event.request_id
