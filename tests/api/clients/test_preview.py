"""What a token would say, and what it would not."""

import json
import re

import httpx
import pytest

from tests import acting
from tests.acting import pointers, problem
from tests.world import World, claims_of

OF_THE_MOMENT = {"jti", "sid", "iat", "nbf", "exp", "auth_time", "status"}
STOCK = "https://stock.example.com"


async def test_it_says_what_the_real_token_then_says(world: World) -> None:
    world.scopes("stock:read", audience=STOCK, role="clerk")
    ada = world.user("ada", roles=["clerk"])
    shop = world.client("shop", audiences=[STOCK], scopes=["stock:read", "openid", "account"])
    boss = await acting.admin(world)
    for form in (
        {"scope": "stock:read", "resource": STOCK},
        {"scope": "stock:read"},
        {"scope": "openid account"},
        {"scope": "*"},
        {},
    ):
        body = {"user_id": ada.id} | form
        shown = await boss.done("POST", "/clients/shop/token-preview", body)
        real = claims_of((await world.log_in(client=shop, **form))["access_token"])
        same = {name: value for name, value in real.items() if name not in OF_THE_MOMENT}
        told = {n: v for n, v in shown["claims"].items() if n not in OF_THE_MOMENT}
        assert told == same
        assert shown["claims"]["exp"] - shown["claims"]["iat"] == real["exp"] - real["iat"]
        assert shown["header"]["typ"] == "at+jwt"


async def test_the_clients_own_and_what_is_withheld(world: World) -> None:
    robot = world.client("robot", scopes=["introspect"])
    ada = world.user("ada")
    boss = await acting.admin(world)
    shown = await boss.done("POST", "/clients/robot/token-preview", {"scope": "introspect"})
    real = claims_of((await world.act(robot, scope="introspect"))["access_token"])
    assert {n: v for n, v in shown["claims"].items() if n not in OF_THE_MOMENT} == {
        n: v for n, v in real.items() if n not in OF_THE_MOMENT
    }
    body = {"user_id": ada.id, "scope": "introspect account"}
    shown = await boss.done("POST", "/clients/robot/token-preview", body)
    assert (shown["scope"], shown["withheld"]) == ("", ["introspect", "account"])


async def test_nothing_of_it_opens_anything(world: World) -> None:
    ada = world.user("ada", roles=["admin"])
    boss = await acting.admin(world)
    answer = await boss("POST", "/clients/first-party/token-preview",
                        {"user_id": ada.id, "scope": "*", "acr": "aal2"})  # fmt: skip
    shown = answer.json()
    assert re.search(r"[\w-]{10,}\.[\w-]+\.[\w-]*", answer.text) is None, "there is no JWT"
    assert shown["claims"]["jti"] == shown["claims"]["sid"] == "preview"
    (event,) = await world.events("token.previewed")
    assert (event.subject, event.client_id) == (ada.id, "first-party")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user_id": "nobody"}, 404),
        ({}, 409),
        ({"user_id": "DISABLED"}, 409),
        ({"user_id": "ADA", "scope": "no:such"}, 422),
        ({"user_id": "ADA", "resource": "https://elsewhere.example"}, 422),
        ({"user_id": "ADA", "acr": "much"}, 422),
    ],
)
async def test_where_there_would_be_no_token_it_says_so(
    world: World, body: dict[str, str], status: int
) -> None:
    ids = {"ADA": world.user("ada").id, "DISABLED": world.user("dora", status="disabled").id}
    world.client("page", public=True, grants=("password",))
    boss = await acting.admin(world)
    body = json.loads(json.dumps(body))
    if body.get("user_id") in ids:
        body["user_id"] = ids[body["user_id"]]
    answer = await boss("POST", "/clients/page/token-preview", body)
    if status == 422:
        assert pointers(answer)
    else:
        problem(answer, status)


async def test_it_takes_both_scopes(world: World) -> None:
    for scopes, username in ((("clients:read",), "one"), (("users:read",), "two")):
        clerk = await acting.clerk(world, *scopes, username=username)
        answer: httpx.Response = await clerk("POST", "/clients/first-party/token-preview", {})
        problem(answer, 403)


async def test_a_passkey_is_previewed_as_what_it_proves(world: World) -> None:
    ada = world.user("ada")
    world.client("shop")
    boss = await acting.admin(world)
    body = {"user_id": ada.id, "acr": "phr"}
    claims = (await boss.done("POST", "/clients/shop/token-preview", body))["claims"]
    assert claims["acr"] == "phr" and "pwd" not in claims["amr"] and "hwk" in claims["amr"]
