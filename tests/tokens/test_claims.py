"""What an access token says (RFC 9068 §2)."""

from typing import Any

from identity.clock import frozen, now
from tests.world import World, claims_of

USER = {"iss", "sub", "aud", "client_id", "iat", "nbf", "exp", "jti", "status"} | {
    "sid", "auth_time", "acr", "amr", "username", "roles",
}  # fmt: skip


async def test_a_users_token_says_who_for_whom_and_until_when(world: World, settings: Any) -> None:
    world.scopes("read", role="reader")
    user = world.user(roles=["reader"])
    with frozen() as clock:
        tokens = await world.log_in()
        claims = claims_of(tokens["access_token"])
        assert set(claims) == USER | {"scope"}
        assert (claims["iss"], claims["aud"]) == (settings.issuer, settings.issuer)
        assert (claims["sub"], claims["username"]) == (user.id, "ada")
        assert (claims["roles"], claims["scope"]) == (["reader"], "account read")
        assert claims["iat"] == claims["nbf"] == claims["auth_time"] == int(now())
        assert claims["exp"] == claims["iat"] + tokens["expires_in"] == claims["iat"] + 900
        clock.tick(1)
        again = claims_of((await world.log_in())["access_token"])
    assert again["jti"] != claims["jti"]
    assert again["sid"] != claims["sid"]


async def test_a_token_without_scope_names_none(world: World) -> None:
    world.user()
    app = world.client("app", scopes=[])
    claims = claims_of((await world.log_in(client=app))["access_token"])
    assert set(claims) == USER
    assert claims["roles"] == []


async def test_a_token_holds_no_secret_and_no_address(world: World) -> None:
    world.user(email="ada@example.com", name="Ada Lovelace")
    text = str(claims_of((await world.log_in())["access_token"]))
    for private in ("ada@example.com", "Lovelace", "bcrypt", '127.0.0.1"', "rt_"):
        assert private not in text
