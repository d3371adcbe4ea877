"""Guessing is slowed per account and address, and hurts nobody but the guesser."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.clock import frozen
from tests.serving import running
from tests.world import PASSWORD, World, refused


@pytest.fixture
async def app(make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
    app = create_app(make_settings(login_max_failures=3, login_lockout="5m"))
    async with running(app):
        yield app


def elsewhere(world: World, address: str) -> World:
    """The same service, asked from another address."""
    transport = httpx.ASGITransport(app=world.app, client=(address, 40_000))
    return World(world.app, httpx.AsyncClient(transport=transport, base_url="http://test"))


async def fail(world: World, username: str = "ada", times: int = 3) -> None:
    for _ in range(times):
        answer = await world.token(grant_type="password", username=username, password="guess")
        refused(answer, 400, "invalid_grant")


async def test_a_locked_attempt_answers_429_even_with_the_right_password(world: World) -> None:
    world.user()
    with frozen() as clock:
        await fail(world)
        answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
        refused(answer, 429, "temporarily_unavailable")
        assert answer.headers["retry-after"] == "300"
        clock.tick(299)
        answer = await world.token(grant_type="password", username="ADA", password=PASSWORD)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        clock.tick(1.5)
        await world.log_in()
        # A login that succeeded takes the failures back.
        await fail(world, times=2)
        await world.log_in()
        await fail(world, times=2)
        await world.log_in()


async def test_the_attacker_locks_out_only_himself(world: World) -> None:
    world.user("ada")
    world.user("bob")
    owner = elsewhere(world, "10.1.1.1")
    before = await owner.log_in()
    await fail(world)
    assert (
        await world.token(grant_type="password", username="ada", password=PASSWORD)
    ).status_code == 429
    # Another address, another account, and what was granted before go on.
    await owner.log_in()
    await world.log_in("bob")
    assert await world.active(before["access_token"])
    assert (await owner.refresh(before["refresh_token"])).status_code == 200


async def test_an_attack_from_everywhere_does_not_stop_who_has_logged_in_from_here_before(
    world: World,
) -> None:
    world.user()
    owner = elsewhere(world, "10.1.1.1")
    await owner.log_in()
    for place in range(10):
        await fail(elsewhere(world, f"10.2.2.{place}"))
    stranger = elsewhere(world, "10.3.3.3")
    answer = await stranger.token(grant_type="password", username="ada", password=PASSWORD)
    assert answer.status_code == 429
    await owner.log_in()


async def test_accounts_that_do_not_exist_lock_alike(world: World) -> None:
    await fail(world, "nobody")
    answer = await world.token(grant_type="password", username="nobody", password=PASSWORD)
    refused(answer, 429, "temporarily_unavailable")


async def test_locked_attempts_are_on_record(world: World) -> None:
    world.user()
    await fail(world)
    await world.token(grant_type="password", username="ada", password=PASSWORD)
    [*_, last] = await world.events("login")
    assert (last.outcome, last.detail["login"]) == ("refused", "ada")
    assert "too many" in last.detail["why"]
