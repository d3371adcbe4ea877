"""Whoever floods the service with logins holds up nobody but themselves."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.authentication.passwords import fair
from tests import acting
from tests.serving import running
from tests.world import PASSWORD, World


@pytest.fixture
async def app(make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
    app = create_app(make_settings(hashing_threads=1, hashing_queue=6, trusted_proxies="127.0.0.1"))
    async with running(app):
        yield app


@pytest.fixture
def held(world: World, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, a comparison that has begun does not end."""
    monkeypatch.setattr(fair, "LONGEST_WAIT", 60)
    go_on, compare = threading.Event(), world.services.hasher.verify
    monkeypatch.setattr(
        world.services.hasher, "verify", lambda *given: go_on.wait(20) and compare(*given)
    )
    return go_on


def log_in(world: World, username: str, address: str) -> "asyncio.Task[httpx.Response]":
    form = {"grant_type": "password", "username": username, "password": PASSWORD}
    headers = {"x-forwarded-for": address}
    return asyncio.create_task(world.api.post("/token", data=form, headers=headers))


async def settled(world: World, tasks: list["asyncio.Task[httpx.Response]"], waiting: int) -> None:
    """Until all others have been refused, and the thread, which comes last on a busy machine, has
    taken one."""
    for answered in islice(asyncio.as_completed(tasks), len(tasks) - waiting):
        assert (await answered).status_code == 503
    async with asyncio.timeout(10):
        while world.services.pool.depth > waiting - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert world.services.pool.depth == waiting - 1


async def done(tasks: list["asyncio.Task[httpx.Response]"]) -> list["asyncio.Task[httpx.Response]"]:
    await asyncio.wait(tasks)
    return tasks


async def test_one_account_on_sixty_connections_leaves_room_for_all_others(
    world: World, held: threading.Event
) -> None:
    """It logs in rightly, so that nothing else slows it."""
    world.user("mallory")
    names = ["ada", "bob", "eve"]
    for name in names:
        world.user(name)
    flood = [log_in(world, "mallory", "192.0.2.66") for _ in range(60)]
    await settled(world, flood, waiting=3)
    others = [log_in(world, name, f"192.0.2.{n}") for n, name in enumerate(names)]
    others.append(log_in(world, "admin", "192.0.2.66"))  # behind the same gateway
    while world.services.pool.depth < 6:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    held.set()
    assert [(await answer).status_code for answer in others] == [200, 200, 200, 400]
    assert [task.result().status_code for task in await done(flood)].count(200) == 3


async def test_an_address_with_many_accounts_gives_up_places_for_others(
    world: World, held: threading.Event
) -> None:
    """IPv6: whoever has a /64 has all its addresses."""
    world.user("ada")
    flood = [log_in(world, f"nobody-{n}", f"2001:db8::{n:x}") for n in range(20)]
    await settled(world, flood, waiting=7)
    ada = log_in(world, "ada", "2001:db8:0:1::1")
    refused, _ = await asyncio.wait(
        [task for task in flood if not task.done()], return_when=asyncio.FIRST_COMPLETED
    )
    (answer,) = [await task for task in refused]
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    held.set()
    assert (await ada).status_code == 200
    # Of those who came from one address ada overtook all that waited.
    assert [task.result().status_code for task in await done(flood)].count(400) == 6


async def test_whoever_sets_passwords_takes_turns_with_those_who_log_in(world: World) -> None:
    boss = await acting.admin(world)
    bodies = [{"username": f"new-{n}", "password": PASSWORD} for n in range(5)]
    answers = await asyncio.gather(*(boss("POST", "/users", body) for body in bodies))
    assert [answer.status_code for answer in answers] == [201] * 5
