"""`/keys`: what administrators do with signing keys."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import acting
from tests.acting import pointers, problem
from tests.world import World


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    """Of a whole service, where this folder's other tests have only the slice's tables."""
    return make_settings()


async def states(boss: acting.Actor) -> dict[str, str]:
    keys = (await boss.done("GET", "/keys"))["items"]
    return {key["kid"]: key["state"] for key in keys}


async def test_keys_are_listed_without_their_private_halves(world: World) -> None:
    boss = await acting.admin(world)
    page = await boss.done("GET", "/keys")
    assert page["next"] is None
    assert {key["state"] for key in page["items"]} == {"active"}
    assert set(page["items"][0]) == {
        "kid", "algorithm", "state", "imported", "created_at", "not_before",
        "activated_at", "retired_at", "withdrawn_at", "expires_at", "revoked_at",
        "uptake",
    }  # fmt: skip


async def test_keys_come_in_pages_like_every_other_list(world: World) -> None:
    boss = await acting.admin(world)
    for _ in range(2):
        await boss.done("POST", "/keys/rotate", {"now": True})
    whole = (await boss.done("GET", "/keys", params={"limit": 50}))["items"]
    walked, after = [], None
    while not walked or after:
        page = await boss.done(
            "GET", "/keys", params={"limit": 1, **({"after": after} if after else {})}
        )
        assert len(page["items"]) == 1
        walked, after = walked + page["items"], page["next"]
    assert walked == whole and len(whole) >= 3
    assert pointers(await boss("GET", "/keys", params={"after": "bm9uZQ"})) == {"?after"}
    assert pointers(await boss("GET", "/keys", params={"limit": 0})) == {"?limit"}


async def test_a_rotation_publishes_the_next_key_and_now_signs_with_it(world: World) -> None:
    boss = await acting.admin(world)
    (first,) = await states(boss)
    coming = await boss.done("POST", "/keys/rotate")
    assert coming["state"] == "next"
    again = await boss.done("POST", "/keys/rotate", {})
    assert again["kid"] == coming["kid"]
    active = await boss.done("POST", "/keys/rotate", {"now": True})
    assert (active["kid"], active["state"]) == (coming["kid"], "active")
    assert await states(boss) == {first: "retired", coming["kid"]: "active"}
    jwks = (await world.api.get("/.well-known/jwks.json")).json()
    assert {key["kid"] for key in jwks["keys"]} == {first, coming["kid"]}


async def test_nothing_that_a_revoked_key_signed_is_good(world: World) -> None:
    boss = await acting.admin(world)
    (first,) = await states(boss)
    revoked = await boss.done("POST", f"/keys/{first}/revoke")
    assert revoked["state"] == "revoked"
    problem(await boss("GET", "/keys"), 401)
    boss = await acting.admin(world)
    assert sorted((await states(boss)).values()) == ["active", "revoked"]
    assert (await boss.done("POST", f"/keys/{first}/revoke")) == revoked


async def test_what_is_no_key_and_no_wish_is_refused(world: World) -> None:
    boss = await acting.admin(world)
    for kid in ("none", "%00", "x" * 5000):
        problem(await boss("POST", f"/keys/{kid}/revoke"), 404)
    assert pointers(await boss("POST", "/keys/rotate", {"now": "yes"})) == {"/now"}
    assert pointers(await boss("POST", "/keys/rotate", {"at": 1})) == {"/at"}
    answer = await boss("POST", "/keys/rotate", content=b"now=true")
    problem(answer, 415)


async def test_every_act_needs_its_scope(world: World) -> None:
    reader = await acting.clerk(world, "keys:read", username="reader")
    writer = await acting.clerk(world, "keys:write", username="writer")
    for method, path, weak in (
        ("GET", "/keys", writer),
        ("POST", "/keys/rotate", reader),
        ("POST", "/keys/x/revoke", reader),
    ):
        problem(await world.api.request(method, path), 401)
        problem(await weak(method, path), 403)
