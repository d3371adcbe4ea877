"""A token's `iat` is from before its rights were read, so that whatever is taken away while it is
being issued is told with a time that hits it."""

from typing import Any

import pytest

from identity.clock import frozen
from identity.oauth.grants import password
from tests.world import World, claims_of, granted


def slow(world: World, monkeypatch: pytest.MonkeyPatch, time: Any) -> None:
    """Three seconds pass between the look at the change feed and the signature."""
    take = world.services.places.take

    async def take_slowly(owner: str | None, audience: str) -> Any:
        place = await take(owner, audience)
        time.tick(3)
        return place

    monkeypatch.setattr(world.services.places, "take", take_slowly)


async def test_of_a_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with frozen() as time:
        robot = world.client("robot", scopes=[])
        await world.act(robot)  # a client may have to wait out the second in which it was made
        slow(world, monkeypatch, time)
        began = int(time.at)
        token = (await world.act(robot))["access_token"]
        assert claims_of(token)["iat"] == claims_of(token)["nbf"] == began
        assert await world.active(token)


async def test_of_a_refresh(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with frozen() as time:
        world.user()
        login = await world.log_in()
        slow(world, monkeypatch, time)
        began = int(time.at)
        token = granted(await world.refresh(login["refresh_token"]))["access_token"]
        assert claims_of(token)["iat"] == began
        assert await world.active(token)


async def test_of_a_login(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with frozen() as time:
        world.user()
        rights_of = password.accounts.rights_of

        def slowly(*given: Any) -> Any:
            time.tick(3)
            return rights_of(*given)

        monkeypatch.setattr(password.accounts, "rights_of", slowly)
        began = int(time.at)
        token = (await world.log_in())["access_token"]
        assert time.at >= began + 3  # it was slow indeed
        assert claims_of(token)["iat"] == began
        assert await world.active(token)
