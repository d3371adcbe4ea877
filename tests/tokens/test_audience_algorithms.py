"""An audience whose library knows one algorithm only gets its tokens signed by that."""

from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest

from tests import acting
from tests.acting import pointers
from tests.world import World

pytestmark = pytest.mark.first_start

ORDERS = "https://orders.test"


def alg(token: str) -> Any:
    return pyjwt.get_unverified_header(token)["alg"]


def kid(token: str) -> Any:
    return pyjwt.get_unverified_header(token)["kid"]


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings(audience_algorithms=f"{ORDERS}=RS256")


async def test_an_audience_gets_tokens_by_the_algorithm_it_chose(world: World) -> None:
    world.user()
    shop = world.client("shop", audiences=[ORDERS])
    tokens = await world.log_in(client=shop, resource=ORDERS)
    jwks = pyjwt.PyJWKSet.from_dict((await world.api.get("/.well-known/jwks.json")).json())
    token = tokens["access_token"]
    claims = pyjwt.decode(token, jwks[kid(token)], algorithms=["RS256"], audience=ORDERS)
    assert claims["aud"] == ORDERS
    assert await world.active(token)
    assert alg((await world.log_in())["access_token"]) == "ES256"
    again = await world.refresh(tokens["refresh_token"], client=shop)
    assert alg(again.json()["access_token"]) == "RS256"


async def test_each_algorithm_rotates_and_is_revoked_alone(world: World) -> None:
    boss = await acting.admin(world)
    shop = world.client("shop", audiences=[ORDERS])
    world.user()
    token = (await world.log_in(client=shop, resource=ORDERS))["access_token"]
    usual = (await world.log_in())["access_token"]

    fresh = await boss.done("POST", "/keys/rotate", {"algorithm": "RS256", "now": True})
    assert (fresh["algorithm"], fresh["state"]) == ("RS256", "active")
    after = (await world.log_in(client=shop, resource=ORDERS))["access_token"]
    assert kid(after) == fresh["kid"] != kid(token)
    assert kid((await world.log_in())["access_token"]) == kid(usual)

    await boss.done("POST", f"/keys/{fresh['kid']}/revoke")
    assert not await world.active(after)
    assert await world.active(token)
    assert await world.active(usual)
    successor = (await world.log_in(client=shop, resource=ORDERS))["access_token"]
    assert (alg(successor), kid(successor) == fresh["kid"]) == ("RS256", False)
    keys = (await boss.done("GET", "/keys"))["items"]
    states = sorted((key["algorithm"], key["state"]) for key in keys)
    assert states == [
        ("ES256", "active"), ("RS256", "active"), ("RS256", "retired"), ("RS256", "revoked"),
    ]  # fmt: skip


async def test_an_algorithm_that_nobody_chose_cannot_be_rotated(world: World) -> None:
    boss = await acting.admin(world)
    answer = await boss("POST", "/keys/rotate", {"algorithm": "PS256"})
    assert pointers(answer) == {"/algorithm"}
