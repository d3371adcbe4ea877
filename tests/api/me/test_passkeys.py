"""`/users/me/factors/passkeys`: making, naming and removing one's own over the API."""

from collections.abc import Callable
from typing import Any

import pytest

from identity import clock
from identity.authentication.passkeys import keeping
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.authenticators import UP, Authenticator, encoded, given_passkey, with_passkey
from tests.second_factors import log_in
from tests.world import PASSWORD, World, granted

PASSKEYS = "/users/me/factors/passkeys"
CONFIRM = f"{PASSKEYS}/confirm"


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings(issuer="http://localhost:8000")


async def listed(me: Actor) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await me.done("GET", "/users/me/factors"))["items"]
    return items


async def add(me: Actor, name: str = "Key", **lies: Any) -> tuple[Any, Authenticator]:
    key = Authenticator()
    credential = key.make(await me.done("POST", PASSKEYS), **lies)
    return await me("POST", CONFIRM, {"name": name, "credential": credential}), key


async def test_a_passkey_is_made_named_and_removed(world: World) -> None:
    world.user(name="Ada Lovelace")
    me = Actor(world, await world.log_in())
    options = await me.done("POST", PASSKEYS)
    assert options["user"]["displayName"] == "Ada Lovelace"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert await listed(me) == []
    answer, _ = await add(me, "My  telephone")
    added = granted(answer)
    assert len(added["recovery_codes"]) == 10
    passkey = added["passkey"]
    assert (passkey["kind"], passkey["name"], passkey["backed_up"]) == (
        "passkey", "My telephone", True,
    )  # fmt: skip
    refusal = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert refusal.json()["factors"] == ["passkey", "recovery_code"]
    me = Actor(world, granted(await log_in(world, added["recovery_codes"][0])))
    assert [item["kind"] for item in await listed(me)] == ["passkey", "recovery_codes"]
    path = f"{PASSKEYS}/{passkey['id']}"
    assert (await me.done("PATCH", path, {"name": "The blue key"}))["name"] == "The blue key"
    assert (await me.done("PATCH", path, {"doubted": False}))["doubted_at"] is None
    assert pointers(await me("PATCH", path, {"doubted": True})) == {"/doubted"}
    assert pointers(await me("PATCH", path, {"name": " "})) == {"/name"}
    await me.done("DELETE", path)
    problem(await me("DELETE", path), 404)
    assert await listed(me) == []
    await world.log_in()  # the password is enough again
    names = [event.detail["called"] for event in await world.events("factor.removed")]
    assert names == ["The blue key"]


async def test_what_is_not_right_is_refused_and_said_why(world: World) -> None:
    world.user()
    me = Actor(world, await world.log_in())
    for lie in ({"flags": UP}, {"origin": "http://evil.example"}, {"rp_id": "evil.example"}):
        answer, _ = await add(me, **lie)
        assert pointers(answer) == {"/credential"} and "evil" not in answer.text
    for credential in ({}, {"id": 7, "response": None}, {"id": "x" * 20_000}):
        answer = await me("POST", CONFIRM, {"name": "x", "credential": credential})
        assert pointers(answer) == {"/credential"}
    problem(await me("POST", CONFIRM, {"name": "x"}), 422)
    assert await listed(me) == []


async def test_others_passkeys_are_not_found(world: World) -> None:
    _, theirs = await with_passkey(world, "eve")
    world.user()
    me = Actor(world, await world.log_in())
    path = f"{PASSKEYS}/{theirs.passkey_id}"
    problem(await me("DELETE", path), 404)
    for change in ({"name": "mine"}, {"doubted": False}, {}):
        problem(await me("PATCH", path, change), 404)


async def test_a_key_of_another_or_the_twenty_first_is_a_conflict(world: World) -> None:
    user, key = await with_passkey(world)
    world.user("eve")
    eve = Actor(world, await world.log_in("eve"))
    copy = Authenticator(credential_id=key.credential_id)
    made = copy.make(await eve.done("POST", PASSKEYS))
    problem(await eve("POST", CONFIRM, {"name": "x", "credential": made}), 409)
    assert await listed(eve) == []
    me = Actor(world, granted(await log_in(world, key.recovery_codes[0])))
    options = await me.done("POST", PASSKEYS)
    for _ in range(keeping.MOST - 1):
        await given_passkey(world, user)
    problem(await me("POST", PASSKEYS), 409)
    made = Authenticator().make(options)
    problem(await me("POST", CONFIRM, {"name": "x", "credential": made}), 409)


async def test_it_takes_a_login_of_the_last_minutes_with_a_factor_where_there_is_one(
    world: World,
) -> None:
    user = world.user()
    with clock.frozen() as hand:
        before = Actor(world, await world.log_in())
        key = await given_passkey(world, user)
        path = f"{PASSKEYS}/{key.passkey_id}"
        changes: list[tuple[str, str, Any]] = [
            ("POST", PASSKEYS, None), ("POST", CONFIRM, {"name": "x", "credential": {}}),
            ("PATCH", path, {"name": "x"}), ("DELETE", path, None),
        ]  # fmt: skip
        for change in changes:
            answer = await before(*change)
            problem(answer, 403)
            assert 'acr_values="aal2"' in answer.headers["www-authenticate"]
        me = Actor(world, granted(await log_in(world, key.recovery_codes[0])))
        hand.tick(301)
        assert me.refresh_token
        me = Actor(world, granted(await world.refresh(me.refresh_token)))
        for change in changes:
            problem(await me(*change), 403)


async def test_administrators_see_and_reset_them(world: World) -> None:
    user, key = await with_passkey(world)
    boss = await acting.admin(world)
    items = (await boss.done("GET", f"/users/{user.id}/factors"))["items"]
    assert [(item["kind"], item["id"]) for item in items] == [
        ("passkey", key.passkey_id), ("recovery_codes", None),
    ]  # fmt: skip
    assert encoded(key.credential_id) not in str(items)
    await boss.done("DELETE", f"/users/{user.id}/factors")
    assert (await boss.done("GET", f"/users/{user.id}/factors"))["items"] == []
    await world.log_in()


class TestAtAnAddress:
    @pytest.fixture
    def settings(self, make_settings: Callable[..., Any]) -> Any:
        return make_settings()

    async def test_there_are_no_passkeys(self, world: World) -> None:
        world.user()
        me = Actor(world, await world.log_in())
        assert "IP address" in problem(await me("POST", PASSKEYS), 409)["detail"]
