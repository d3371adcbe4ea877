"""`POST /revoke` (RFC 7009): once it has answered, nobody says that the token is active."""

import asyncio

import pytest

from tests.world import World, claims_of, granted, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


async def test_a_revoked_access_token_is_dead_and_its_session_goes_on(world: World) -> None:
    user = world.user()
    tokens = await world.log_in()
    sibling = granted(await world.refresh(tokens["refresh_token"]))
    assert await world.active(tokens["access_token"])
    answer = await world.revoke(tokens["access_token"])
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert not await world.active(tokens["access_token"])
    assert (await world.me(tokens["access_token"])).status_code == 401
    assert await world.active(sibling["access_token"])
    granted(await world.refresh(sibling["refresh_token"]))
    [event] = await world.events("token.revoked")
    assert (event.subject, event.client_id) == (user.id, "first-party")
    assert event.detail["jti"] == claims_of(tokens["access_token"])["jti"]


async def test_revoking_a_refresh_token_ends_its_session(world: World) -> None:
    world.user()
    tokens, other = await world.log_in(), await world.log_in()
    newer = granted(await world.refresh(tokens["refresh_token"]))
    assert (await world.revoke(newer["refresh_token"])).status_code == 200
    for pair in (tokens, newer):
        assert not await world.active(pair["access_token"])
        assert not await world.active(pair["refresh_token"])
    refused(await world.refresh(newer["refresh_token"]), 400, "invalid_grant")
    assert await world.active(other["access_token"])
    [event] = await world.events("session.ended")
    assert event.subject == claims_of(tokens["access_token"])["sid"]


async def test_a_spent_refresh_token_revokes_its_session_too(world: World) -> None:
    """Whoever holds it may have lost the answer that brought its successor."""
    world.user()
    tokens = await world.log_in()
    newer = granted(await world.refresh(tokens["refresh_token"]))
    assert (await world.revoke(tokens["refresh_token"])).status_code == 200
    assert not await world.active(newer["refresh_token"])
    assert not await world.active(newer["access_token"])


async def test_what_is_unknown_or_dead_already_is_revoked_with_200(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    shop = world.client()
    own = (await world.act(shop))["access_token"]
    for _ in range(2):
        for token in (tokens["access_token"], tokens["refresh_token"]):
            assert (await world.revoke(token)).status_code == 200
        assert (await world.revoke(own, shop)).status_code == 200
    for token in ("x", "rt_", "rt_" + "A" * 43, "a.b.c", "ü", "x" * 60_000):
        answer = await world.revoke(token)
        assert (answer.status_code, answer.content) == (200, b"{}")
    assert not await world.active(own)
    assert len(await world.events("token.revoked")) == 2
    assert len(await world.events("session.ended")) == 1


async def test_another_clients_token_is_not_revoked(world: World) -> None:
    world.user()
    mine, other = world.client("mine"), world.client("other")
    tokens = await world.log_in(client=mine)
    own = (await world.act(mine))["access_token"]
    for token in (tokens["access_token"], tokens["refresh_token"], own):
        for stranger in (other, None):
            refused(await world.revoke(token, stranger), 400, "invalid_grant")
        assert await world.active(token)


@SQLITE
async def test_whoever_revokes_says_which_client_and_which_token(world: World) -> None:
    shop = world.client()
    assert "token" in refused(await world.revoke("", shop), 400, "invalid_request")
    answer = await world.api.post("/revoke", data={"token": "x", "client_id": shop.id})
    refused(answer, 401, "invalid_client")
    answer = await world.api.post("/revoke", data={"token": "x"}, headers=shop.basic)
    assert answer.status_code == 200
    for hint in ("refresh_token", "access_token", "id_token"):
        own = (await world.act(shop))["access_token"]
        form = {"token": own, "token_type_hint": hint, **shop.post}
        assert (await world.api.post("/revoke", data=form)).status_code == 200
        assert not await world.active(own)


async def test_many_revocations_of_one_token_at_once_are_one(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    answers = await asyncio.gather(*(world.revoke(tokens["access_token"]) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    answers = await asyncio.gather(*(world.revoke(tokens["refresh_token"]) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await world.events("session.ended")) == 1


async def test_no_introspection_that_starts_after_a_revocation_says_active(world: World) -> None:
    people = [world.user(f"person-{n}").username for n in range(21)]  # one account takes turns
    stop = asyncio.Event()
    checker = world.client("checker", scopes=["introspect"])

    async def revoked_then_asked(username: str) -> None:
        token = (await world.log_in(username))["access_token"]
        assert await world.active(token)
        assert (await world.revoke(token)).status_code == 200
        assert not await world.active(token)

    async def traffic(token: str) -> None:
        while not stop.is_set():
            answer = await world.api.post(
                "/introspect", data={"token": token}, headers=checker.basic
            )
            assert answer.status_code == 200
            await asyncio.sleep(0)

    first, *others = people
    busy = asyncio.create_task(traffic((await world.log_in(first))["access_token"]))
    await asyncio.gather(*(revoked_then_asked(username) for username in others))
    stop.set()
    await busy
