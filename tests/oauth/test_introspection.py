"""`POST /introspect` (RFC 7662, RFC 9701): who may ask, and what is said."""

from typing import Any

import pytest

from identity.clock import frozen
from identity.directory.users import accounts
from tests.world import Caller, World, bearer, claims_of, granted, refused

SIGNED = "application/token-introspection+jwt"
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
async def tokens(world: World) -> dict[str, Any]:
    """Ada's, who holds the scope `read` in the role `reader`."""
    world.scopes("read", role="reader")
    world.user(roles=["reader"])
    return await world.log_in()


async def test_a_live_access_token_is_described_in_full(
    world: World, tokens: dict[str, Any], settings: Any
) -> None:
    claims = claims_of(tokens["access_token"])
    assert await world.introspect(tokens["access_token"]) == {
        "active": True,
        "scope": "account read",
        "client_id": "first-party",
        "subject_type": "user",
        "username": "ada",
        "token_type": "Bearer",
        "aud": settings.issuer,
        "iss": settings.issuer,
        "roles": ["reader"],
        **{
            n: claims[n]
            for n in ("exp", "iat", "nbf", "sub", "jti", "sid", "auth_time", "acr", "amr")
        },
    }


async def test_a_live_refresh_token_is_described(
    world: World, tokens: dict[str, Any], settings: Any
) -> None:
    claims = claims_of(tokens["access_token"])
    described = await world.introspect(tokens["refresh_token"])
    expected = {"active", "scope", "client_id", "username", "token_type", "exp", "iat", "nbf"}
    assert set(described) == expected | {"sub", "subject_type", "aud", "iss", "jti", "sid", "roles"}
    assert described["token_type"] == "refresh_token"
    assert described["exp"] - described["iat"] == 14 * 86_400
    assert (described["sub"], described["sid"]) == (claims["sub"], claims["sid"])
    # The hint is no more than that (RFC 7662 §2.1).
    checker = world.client("checker", scopes=["introspect"])
    for hint in ("access_token", "refresh_token", "nonsense"):
        for name in ("access_token", "refresh_token"):
            form = {"token": tokens[name], "token_type_hint": hint}
            answer = await world.api.post("/introspect", data=form, headers=checker.basic)
            assert answer.json()["active"] is True


async def test_of_anything_else_only_that_it_is_inactive_is_said(
    world: World, tokens: dict[str, Any]
) -> None:
    with frozen() as clock:
        clock.tick(60)
        rotated = granted(await world.refresh(tokens["refresh_token"]))
    for token in ("x", ".", "..", "rt_", "rt_" + "A" * 43, "ü", " ", tokens["refresh_token"],
                  tokens["access_token"] + "=", tokens["access_token"][:-1], "a" * 60_000,
                  rotated["refresh_token"] + "A", rotated["refresh_token"].upper()):  # fmt: skip
        assert await world.introspect(token) == {"active": False}


@pytest.mark.parametrize("how", ["basic", "post", "client's bearer", "user's bearer"])
async def test_whoever_may_ask_gets_the_same_answer(
    world: World, tokens: dict[str, Any], how: str
) -> None:
    caller = world.client("api", scopes=["introspect"])
    if how == "basic":
        form, headers = {}, caller.basic
    elif how == "post":
        form, headers = caller.post, {}
    elif how == "client's bearer":
        form, headers = {}, bearer((await world.act(caller, scope="introspect"))["access_token"])
    else:
        world.user("root", roles=["admin"])
        form, headers = {}, bearer((await world.log_in("root", scope="introspect"))["access_token"])
    answer = await world.api.post(
        "/introspect", data={"token": tokens["access_token"], **form}, headers=headers
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == await world.introspect(tokens["access_token"])


A, B = "https://a.example.com", "https://b.example.com"


async def test_a_client_sees_tokens_of_its_audiences_and_its_own(world: World) -> None:
    """Refresh tokens are no resource's: they are for the client that they were issued to."""
    world.user()
    shop = world.client("shop", audiences=[A, B, "stock"])
    issued = {
        "default": await world.log_in(client=shop),
        "a": await world.log_in(client=shop, resource=A),
        "b": await world.log_in(client=shop, resource=B),
    }
    issued["stock"] = await world.log_in(client=shop, resource="stock")
    issued["job"] = await world.act(shop, resource=A)
    everything = {f"{name} {kind}" for name, tokens in issued.items() for kind in tokens
                  if kind.endswith("_token")}  # fmt: skip
    issuer = world.services.settings.issuer
    for caller, expected in (
        (shop, everything),
        (world.client("checker", scopes=["introspect"], grants=()), everything),
        (world.client("at-a", audiences=[A]), {"a access_token", "job access_token"}),
        (world.client("at-b", audiences=[B], grants=()), {"b access_token"}),
        (world.client("at-home", audiences=[issuer]), {"default access_token"}),
        (world.client("newcomer"), set()),
        (world.client("stock"), set()),  # its id names no resource
    ):
        for accept in ("application/json", SIGNED):
            assert await seen(world, caller, issued, accept) == expected, caller.id


async def seen(world: World, caller: Caller, issued: dict[str, Any], accept: str) -> set[str]:
    """The tokens that are active to `caller`; of the others it hears nothing but that."""
    active = set()
    for name, tokens in issued.items():
        for kind in ("access_token", "refresh_token"):
            if kind not in tokens:
                continue
            answer = await world.api.post(
                "/introspect",
                data={"token": tokens[kind]},
                headers={"accept": accept, **caller.basic},
            )
            assert answer.headers["content-type"] == accept
            said = claims_of(answer.text)["token_introspection"] if accept == SIGNED else None
            said = said or answer.json()
            assert said["active"] or said == {"active": False}
            active |= {f"{name} {kind}"} if said["active"] else set()
    return active


async def test_what_a_client_sees_follows_its_registration_at_once(world: World) -> None:
    world.user()
    shop, caller = world.client("shop", audiences=[A]), world.client("orders")
    issued = {"a": await world.log_in(client=shop, resource=A)}
    for fields, expected in (
        ({}, set()),
        ({"audiences": [A]}, {"a access_token"}),
        ({"audiences": []}, set()),
        ({"scopes": ["introspect"]}, {"a access_token", "a refresh_token"}),
        ({"scopes": ["*"]}, set()),
    ):
        world.change_client("orders", **fields)
        assert await seen(world, caller, issued, "application/json") == expected, fields


@SQLITE
async def test_whoever_may_not_ask_learns_nothing(world: World, tokens: dict[str, Any]) -> None:
    shop, app = world.client("shop"), world.client("app", public=True)
    form = {"token": tokens["access_token"]}

    async def ask(headers: dict[str, str] | None = None, **more: str) -> Any:
        return await world.api.post("/introspect", data=form | more, headers=headers)

    nobody = await ask()
    refused(nobody, 401, "invalid_client")
    assert nobody.headers["www-authenticate"].startswith("Basic realm=")
    refused(await ask(**app.post), 401, "invalid_client")
    refused(await ask(client_id="first-party"), 401, "invalid_client")
    refused(await ask(**Caller("shop", "wrong").post), 401, "invalid_client")
    refused(await ask(**Caller("shop", None).post), 401, "invalid_client")

    invalid = await ask(bearer("nonsense"))
    refused(invalid, 401, "invalid_token")
    assert 'error="invalid_token"' in invalid.headers["www-authenticate"]
    own = (await world.act(shop))["access_token"]
    for token in (own, tokens["access_token"]):
        lacking = await ask(bearer(token))
        refused(lacking, 403, "insufficient_scope")
        assert 'error="insufficient_scope"' in lacking.headers["www-authenticate"]
        assert 'scope="introspect"' in lacking.headers["www-authenticate"]
    assert [e.outcome for e in await world.events("access")] == ["refused"] * 2


async def test_a_bearer_loses_the_right_to_ask_with_its_scope(
    world: World, tokens: dict[str, Any]
) -> None:
    caller = world.client("api", scopes=["introspect"])
    headers = bearer((await world.act(caller, scope="introspect"))["access_token"])
    form = {"token": tokens["access_token"]}
    assert (await world.api.post("/introspect", data=form, headers=headers)).status_code == 200
    world.change_client("api", scopes=[])
    refused(
        await world.api.post("/introspect", data=form, headers=headers), 403, "insufficient_scope"
    )
    world.change_client("api", status="disabled")
    refused(await world.api.post("/introspect", data=form, headers=headers), 401, "invalid_token")


@SQLITE
async def test_a_signed_answer_is_given_to_whoever_asks_for_it(
    world: World, tokens: dict[str, Any], settings: Any
) -> None:
    """That its signature verifies is shown with every algorithm in tests/tokens."""
    checker = world.client("checker", scopes=["introspect"])

    async def ask(token: str, accept: str) -> Any:
        return await world.api.post(
            "/introspect", data={"token": token}, headers={"accept": accept, **checker.basic}
        )

    for token in (tokens["access_token"], tokens["refresh_token"], "nonsense"):
        for accept in (SIGNED, f"{SIGNED}, application/json;q=0.1"):
            answer = await ask(token, accept)
            assert answer.headers["content-type"] == SIGNED
            assert answer.headers["cache-control"] == "no-store"
            claims = claims_of(answer.text)
            assert claims["token_introspection"] == await world.introspect(token)
            assert (claims["iss"], claims["aud"]) == (settings.issuer, "checker")
        unwanted = (f"{SIGNED};q=0", f"application/json, {SIGNED};q=0.5", f"x{SIGNED}")
        for accept in ("application/json", "*/*", "application/jwt", *unwanted):
            assert (await ask(token, accept)).headers["content-type"] == "application/json"
    refused(
        await world.api.post("/introspect", data={"token": "x"}, headers={"accept": SIGNED}),
        401,
        "invalid_client",
    )


async def test_a_renamed_user_is_called_by_the_new_name_at_once(
    world: World, tokens: dict[str, Any]
) -> None:
    assert (await world.introspect(tokens["access_token"]))["username"] == "ada"
    with world.change() as session:
        user = accounts.get(session, claims_of(tokens["access_token"])["sub"])
        accounts.update(session, user, {"username": "lovelace"}, None)
    assert (await world.introspect(tokens["access_token"]))["username"] == "lovelace"
    assert (await world.introspect(tokens["refresh_token"]))["username"] == "lovelace"
    assert (await world.me(tokens["access_token"])).json()["username"] == "lovelace"
