"""Roles and scopes: made, changed, deleted, and felt at once."""

import asyncio
from datetime import datetime
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from sqlmodel import col, func, select

from identity.clock import frozen, utcnow
from identity.store.changes import Change
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.browsing import Browser, Flow, code_client
from tests.world import Caller, World, claims_of, refused

READ = "orders:read"


async def scope(boss: Actor, name: str = READ, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await boss.done("POST", "/scopes", {"name": name, **fields})
    return made


async def test_an_administrator_hands_out_a_new_scope_with_the_token_in_hand(
    world: World,
) -> None:
    boss = await acting.admin(world)
    made = await scope(boss, description="See orders", audience="https://orders.example.com")
    assert (made["builtin"], made["audience"]) == (False, "https://orders.example.com")
    assert READ in (await boss.done("GET", "/roles/admin"))["scopes"]
    answer = await boss("POST", "/roles", {"name": "picker", "scopes": [READ, READ]})
    assert answer.status_code == 201
    assert answer.headers["location"].endswith("/roles/picker")
    assert answer.json()["scopes"] == [READ]
    world.user(roles=["picker"])
    assert (await world.log_in(scope=READ))["scope"] == READ


async def test_what_is_done_to_roles_and_scopes_is_on_record(world: World) -> None:
    boss = await acting.admin(world)
    await scope(boss, audience="https://orders.example.com")
    await boss.done("PATCH", f"/scopes/{READ}", {"description": "Orders", "audience": None})
    await boss.done("PATCH", f"/scopes/{READ}", {"description": "Orders", "audience": None})
    await scope(boss, "open", open_to_registered=True)
    await boss.done("POST", "/roles", {"name": "picker", "scopes": [READ, "keys:read"]})
    await boss.done("PATCH", "/roles/picker", {"scopes": ["users:read", READ]})
    await boss.done("PATCH", "/roles/picker", {"scopes": [READ, "users:read"]})
    await boss.done("DELETE", "/roles/picker")
    await boss.done("DELETE", f"/scopes/{READ}")
    found = {
        name: [(event.subject, event.detail) for event in await world.events(name)]
        for noun in ("scope", "role")
        for name in (f"{noun}.created", f"{noun}.updated", f"{noun}.deleted")
    }
    assert found == {
        "scope.created": [
            (READ, {"audience": "https://orders.example.com"}),
            ("open", {"open_to_registered": True}),
        ],
        "scope.updated": [(READ, {"changed": ["audience", "description"]})],
        "scope.deleted": [(READ, {})],
        "role.created": [("picker", {"scopes": ["keys:read", READ]})],
        "role.updated": [
            ("picker", {"before": ["keys:read", READ], "after": [READ, "users:read"]})
        ],
        "role.deleted": [("picker", {})],
    }


async def test_each_change_has_its_time_and_outdates_the_tags_before(world: World) -> None:
    boss = await acting.admin(world)
    with frozen() as clock:
        await scope(boss)
        await boss.done("POST", "/roles", {"name": "picker", "scopes": [READ]})
        for path, body in (
            ("/roles/picker", {"description": "Picks"}),
            ("/roles/picker", {"scopes": []}),
            (f"/scopes/{READ}", {"description": "Orders"}),
        ):
            tag = (await boss("GET", path)).headers["etag"]
            clock.tick(60)
            changed = await boss("PATCH", path, body, headers={"if-match": tag})
            shown = changed.json()
            assert shown == (await boss.done("GET", path))
            assert body.items() <= shown.items()
            assert datetime.fromisoformat(shown["updated_at"]) == utcnow()
            problem(await boss("PATCH", path, {"description": ""}, headers={"if-match": tag}), 412)
            again = await boss("PATCH", path, body)
            assert again.headers["etag"] == changed.headers["etag"]


async def test_what_a_role_loses_is_told_to_those_who_verify_alone(world: World) -> None:
    boss = await acting.admin(world)
    await scope(boss)
    users = {}
    for name in ("narrowed", "widened", "deprived"):
        role = {"name": name, "scopes": [READ if name == "deprived" else "users:read"]}
        await boss.done("POST", "/roles", role)
        users[name] = world.user(name, roles=[name]).id
        await world.log_in(name)
    before = newest_change(world)
    await boss.done("PATCH", "/roles/widened", {"scopes": ["users:read", "keys:read"]})
    await boss.done("PATCH", "/roles/narrowed", {"scopes": ["keys:read"]})
    await boss.done("DELETE", f"/scopes/{READ}")
    told = told_since(world, before)
    assert told >= {users["narrowed"], users["deprived"]}
    assert users["widened"] not in told


def newest_change(world: World) -> int:
    with world.change() as session:
        return session.exec(select(func.max(Change.id))).one() or 0


def told_since(world: World, before: int) -> set[str]:
    """The users who have lost something since then."""
    narrowed = select(Change.ref).where(Change.kind == "user.narrowed", col(Change.id) > before)
    with world.change() as session:
        return set(session.exec(narrowed))


async def test_whoever_verifies_alone_is_told_of_a_role_that_takes_a_higher_level(
    world: World,
) -> None:
    boss = await acting.admin(world)
    levels = (None, "aal2", "phr")
    for before, after in product(levels, levels):
        name = f"{before}-{after}"
        await boss.done("POST", "/roles", {"name": name, "acr": before})
        user = world.user(name, roles=[name])
        await world.log_in(name)
        newest = newest_change(world)
        await boss.done("PATCH", f"/roles/{name}", {"acr": after, "description": "x"})
        told = {user.id} if levels.index(after) > levels.index(before) else set()
        assert told_since(world, newest) == told, name


async def test_a_changed_role_is_felt_by_tokens_already_issued(world: World) -> None:
    boss = await acting.admin(world)
    clerk = await acting.clerk(world, "users:read", "roles:read")
    await boss.done("PATCH", "/roles/clerk", {"scopes": ["roles:read"], "description": "x"})
    problem(await clerk("GET", "/users"), 403)
    await boss.done("PATCH", "/roles/clerk", {"description": "y"})
    assert (await clerk.done("GET", "/roles/clerk"))["scopes"] == ["roles:read"]
    assert (await boss("DELETE", "/roles/clerk")).status_code == 204
    problem(await clerk("GET", "/roles"), 403)
    problem(await boss("GET", "/roles/clerk"), 404)
    me = (await world.me(clerk.token)).json()
    assert me["roles"] == []


async def test_a_deleted_role_shows_in_the_version_of_its_users(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "picker"})
    path = f"/users/{world.user(roles=['picker']).id}"
    tag = (await boss("GET", path)).headers["etag"]
    await boss.done("DELETE", "/roles/picker")
    problem(await boss("PATCH", path, {"name": "x"}, headers={"if-match": tag}), 412)


async def test_a_role_deleted_while_its_user_has_no_token_is_not_in_the_next_one(
    world: World,
) -> None:
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "picker"})
    world.user(roles=["picker"])
    browser, shop = Browser(world.api), Flow(world, code_client(world))
    tokens = await shop.tokens(browser)
    assert claims_of(tokens["access_token"])["roles"] == ["picker"]
    await world.revoke(tokens["refresh_token"], shop.client)
    await boss.done("DELETE", "/roles/picker")
    again = await shop.tokens(browser)
    assert claims_of(again["access_token"])["roles"] == []


async def test_a_scope_made_or_deleted_shows_in_the_version_of_the_roles_that_hold_it(
    world: World,
) -> None:
    boss = await acting.admin(world)
    patch = {"description": "x"}
    before = (await boss("GET", "/roles/admin")).headers["etag"]
    await scope(boss)
    problem(await boss("PATCH", "/roles/admin", patch, headers={"if-match": before}), 412)
    await boss.done("POST", "/roles", {"name": "picker", "scopes": [READ]})
    before = (await boss("GET", "/roles/picker")).headers["etag"]
    await boss.done("DELETE", f"/scopes/{READ}")
    problem(await boss("PATCH", "/roles/picker", patch, headers={"if-match": before}), 412)


async def test_a_scope_that_moves_to_another_resource_takes_its_tokens_along(
    world: World,
) -> None:
    boss = await acting.admin(world)
    await scope(boss, audience="https://orders.example.com")
    await boss.done("POST", "/roles", {"name": "picker", "scopes": [READ]})
    world.user(roles=["picker"])
    for audience in ("https://orders.example.com", "https://stock.example.com"):
        await boss.done("PATCH", f"/scopes/{READ}", {"audience": audience})
        tokens = await world.log_in(scope=READ)
        assert claims_of(tokens["access_token"])["aud"] == audience


async def test_a_deleted_scope_is_gone_from_roles_clients_and_tokens(world: World) -> None:
    boss = await acting.admin(world)
    await scope(boss)
    await boss.done("POST", "/roles", {"name": "picker", "scopes": [READ, "users:read"]})
    made = await boss.done(
        "POST", "/clients",
        {"id": "robot", "name": "Robot", "grant_types": ["client_credentials"], "scopes": [READ]},
    )  # fmt: skip
    robot = Caller("robot", made["client_secret"])
    own = (await world.act(robot))["access_token"]
    world.user(roles=["picker"])
    token = (await world.log_in(scope=f"{READ} users:read"))["access_token"]
    assert (await world.introspect(token))["scope"] == f"{READ} users:read"
    await boss.done("DELETE", f"/scopes/{READ}")
    assert (await world.introspect(token))["scope"] == "users:read"
    assert (await world.introspect(own))["scope"] == ""
    assert (await boss.done("GET", "/roles/picker"))["scopes"] == ["users:read"]
    assert READ not in (await boss.done("GET", "/roles/admin"))["scopes"]
    refused(await world.token(robot, grant_type="client_credentials", scope=READ), 400,
            "invalid_scope")  # fmt: skip
    await scope(boss)  # another of the same name is nobody's but the administrators'
    assert (await boss.done("GET", "/clients/robot"))["scopes"] == []
    assert (await world.introspect(own))["scope"] == ""
    assert (await world.introspect(token))["scope"] == "users:read"


async def test_what_is_built_in_stays(world: World) -> None:
    boss = await acting.admin(world)
    admin = await boss.done("GET", "/roles/admin")
    problem(await boss("DELETE", "/roles/admin"), 409)
    problem(await boss("PATCH", "/roles/admin", {"scopes": []}), 409)
    await boss.done("PATCH", "/roles/admin", {"scopes": admin["scopes"]})  # changes nothing
    problem(await boss("DELETE", "/scopes/users:read"), 409)
    problem(await boss("PATCH", "/scopes/users:read", {"audience": "https://orders"}), 409)
    await boss.done("PATCH", "/scopes/users:read", {"description": "See people"})
    assert await boss.done("GET", "/roles/admin") == admin


async def test_a_scope_is_patched(world: World) -> None:
    boss = await acting.admin(world)
    made = await scope(boss, audience="https://orders.example.com")
    patched = await boss.done("PATCH", f"/scopes/{READ}", {"audience": None})
    assert patched == made | {"audience": None, "updated_at": patched["updated_at"]}
    assert await boss.done("GET", f"/scopes/{READ}") == patched


@pytest.mark.parametrize(
    "audience",
    [
        "orders", "/orders", "orders.example.com", "//orders.example.com", "https://", "https:",
        "https://orders.example.com/#x", "https://orders.example.com/a b", "https://örders.example",
        "urn:", "1:x", "https://a/" + "b" * 191, "https://a\n", "",
    ],
)  # fmt: skip
async def test_a_scope_belongs_to_a_valid_resource_or_to_any(world: World, audience: str) -> None:
    boss = await acting.admin(world)
    body = {"name": READ, "audience": audience}
    assert pointers(await boss("POST", "/scopes", body)) == {"/audience"}
    await scope(boss)
    patch = await boss("PATCH", f"/scopes/{READ}", {"audience": audience})
    assert pointers(patch) == {"/audience"}
    assert (await boss.done("GET", f"/scopes/{READ}"))["audience"] is None


async def test_any_absolute_uri_is_a_resource(world: World) -> None:
    boss = await acting.admin(world)
    await scope(boss)
    for audience in (
        "https://orders.example.com", "https://[2001:db8::1]:8443/v1?tenant=7",
        "https://a/" + "b" * 190,
        "urn:example:orders", "http://localhost:9000/", "api://0f9a/orders", "https://a/%C3%A9",
    ):  # fmt: skip
        patched = await boss.done("PATCH", f"/scopes/{READ}", {"audience": audience})
        assert patched["audience"] == audience


async def test_a_scope_may_be_called_what_rfc_6749_allows(world: World) -> None:
    boss = await acting.admin(world)
    for name in ("https://orders.example.com/read?all#x", "!", "a" * 100, "%2F", "..", "[~]"):
        answer = await boss("POST", "/scopes", {"name": name})
        assert answer.status_code == 201, answer.text
        if name == "..":  # which clients take for the folder above
            continue
        address = answer.headers["location"]
        assert address.endswith(f"/scopes/{quote(name, safe='')}")
        assert (await boss.done("GET", address))["name"] == name
        assert (await boss("DELETE", address)).status_code == 204
    for name in ("", "*", "a b", 'a"b', "a\\b", "é", "a\n", "a" * 101, "a\0", 7, None):
        assert pointers(await boss("POST", "/scopes", {"name": name})) == {"/name"}, name


async def test_bad_input_is_refused_and_says_where(world: World) -> None:
    boss = await acting.admin(world)
    for body, where in (
        ({"name": "a b"}, "/name"),
        ({"name": "-"}, "/name"),
        ({"name": "a" * 65}, "/name"),
        ({"name": "x", "scopes": ["no:such"]}, "/scopes"),
        ({"name": "x", "scopes": ["*"]}, "/scopes"),
        ({"name": "x", "scopes": "users:read"}, "/scopes"),
        ({"name": "x", "description": None}, "/description"),
        ({"name": "x", "builtin": True}, "/builtin"),
    ):
        assert pointers(await boss("POST", "/roles", body)) == {where}, body
    await boss.done("POST", "/roles", {"name": "x"})
    problem(await boss("POST", "/roles", {"name": "x"}), 409)
    problem(await boss("POST", "/scopes", {"name": "users:read"}), 409)
    for patch, where in (
        ({"name": "y"}, "/name"),
        ({"scopes": None}, "/scopes"),
        ({"scopes": ["no:such"]}, "/scopes"),
    ):
        assert pointers(await boss("PATCH", "/roles/x", patch)) == {where}, patch
    for audience in ("a b", "a#b", "", "\0", 7):
        answer = await boss("POST", "/scopes", {"name": "y", "audience": audience})
        assert pointers(answer) == {"/audience"}, audience
        answer = await boss("PATCH", "/scopes/users:read", {"audience": audience})
        assert pointers(answer) == {"/audience"}, audience


async def test_a_refusal_names_five_scopes_and_counts_the_rest(world: World) -> None:
    boss = await acting.admin(world)
    names = [f"no:{letter}" for letter in "abcdefg"]
    for many, said in (
        (5, "no:a no:b no:c no:d no:e"),
        (6, "no:a no:b no:c no:d no:e and 1 more"),
        (7, "no:a no:b no:c no:d no:e and 2 more"),
    ):
        answer = await boss("POST", "/roles", {"name": "x", "scopes": names[:many]})
        (error,) = problem(answer, 422)["errors"]
        assert error["detail"] == f"no such scope: {said}"


async def test_nobody_puts_into_a_role_what_they_do_not_hold(world: World) -> None:
    clerk = await acting.clerk(world, "roles:read", "roles:write")
    problem(await clerk("POST", "/roles", {"name": "x", "scopes": ["users:write"]}), 403)
    await clerk.done("POST", "/roles", {"name": "x", "scopes": ["roles:read"]})
    problem(await clerk("PATCH", "/roles/x", {"scopes": ["users:write"]}), 403)
    problem(await clerk("PATCH", "/roles/clerk", {"scopes": ["roles:write", "keys:read"]}), 403)
    made = await clerk.done("POST", "/scopes", {"name": READ})  # holds it no more than before
    problem(await clerk("PATCH", "/roles/x", {"scopes": [made["name"]]}), 403)


async def test_nobody_touches_a_role_or_scope_that_they_do_not_hold(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "strong", "scopes": ["keys:write"]})
    await scope(boss)
    clerk = await acting.clerk(world, "roles:read", "roles:write")
    for method, path, body in (
        ("PATCH", "/roles/strong", {"scopes": []}),
        ("PATCH", "/roles/strong", {"description": "weak"}),
        ("DELETE", "/roles/strong", None),
        ("PATCH", "/roles/admin", {"description": "weak"}),
        ("PATCH", f"/scopes/{READ}", {"audience": None}),
        ("DELETE", f"/scopes/{READ}", None),
    ):
        problem(await clerk(method, path, body), 403)


async def test_every_act_needs_its_scope(world: World) -> None:
    reader = await acting.clerk(world, "roles:read", username="reader")
    writer = await acting.clerk(world, "roles:write", username="writer")
    for kind in ("roles", "scopes"):
        for method, path in (
            ("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("DELETE", "/x"),
        ):  # fmt: skip
            problem(await world.api.request(method, f"/{kind}{path}", json={}), 401)
            weak = writer if method == "GET" else reader
            body = {"name": "x"} if method == "POST" else {}
            problem(await weak(method, f"/{kind}{path}", body), 403)


async def test_a_name_of_any_shape_is_not_found(world: World) -> None:
    boss = await acting.admin(world)
    for kind in ("roles", "scopes"):
        for name in ("none", "%00", "x" * 5000, "%ff", "a%2Fb"):
            for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
                problem(await boss(method, f"/{kind}/{name}", body), 404)


async def test_lists_are_searched_by_name_and_description(world: World) -> None:
    boss = await acting.admin(world)
    found = await boss.done("GET", "/scopes", params={"q": "STATISTICS"})
    assert [item["name"] for item in found["items"]] == ["audit:read"]
    found = await boss.done("GET", "/roles", params={"q": "adm"})
    assert [item["name"] for item in found["items"]] == ["admin"]


async def test_a_role_given_while_it_is_deleted_is_given_or_not_but_never_half(
    world: World,
) -> None:
    boss = await acting.admin(world)
    user = world.user()
    for number in range(5):
        role = f"short-lived-{number}"
        await scope(boss, f"s{number}")
        await boss.done("POST", "/roles", {"name": role})
        answers = await asyncio.gather(
            boss("PUT", f"/users/{user.id}/roles", [role]),
            boss("PATCH", f"/roles/{role}", {"scopes": [f"s{number}"]}),
            boss("DELETE", f"/scopes/s{number}"),
            boss("DELETE", f"/roles/{role}"),
        )
        assert {answer.status_code for answer in answers} <= {200, 204, 404, 409, 422}
        assert (await boss.done("GET", f"/users/{user.id}"))["roles"] == []
