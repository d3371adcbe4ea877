"""What clients are told is signed as each has chosen: ID tokens, `/userinfo`, answers of
`/authorize` and logout tokens, by keys that are made, published and rotated like all others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha512
from typing import Any

import httpx
import jwt as pyjwt
import pytest

from identity.app import create_app
from identity.clock import frozen
from identity.keys import rotation, upkeep
from identity.keys.transitions import lead
from identity.verifier.gate.encoding import b64url_encode
from tests.acting import admin, pointers
from tests.browsing import Browser, Flow, code_client
from tests.oauth.test_backchannel_logout import sign_out
from tests.receiving import receiving
from tests.serving import running
from tests.transport import served
from tests.world import World, bearer, services_of

ALL = "ES256 RS256 PS256 EdDSA"
KINDS = (
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "authorization_signed_response_alg",
)


@pytest.fixture
def id_token_algorithms() -> str:
    return ALL


async def verified(world: World, token: str, audience: str = "shop") -> dict[str, Any]:
    """By another library, with the key set as it is published."""
    header = pyjwt.get_unverified_header(token)
    keys = pyjwt.PyJWKSet.from_dict((await world.api.get("/.well-known/jwks.json")).json())
    (key,) = [each for each in keys.keys if each.key_id == header["kid"]]
    claims: dict[str, Any] = pyjwt.decode(
        token, key, algorithms=[header["alg"]], audience=audience,
        issuer=world.services.settings.issuer, options={"require": ["aud", "iss"]},
    )  # fmt: skip
    return claims | {"alg": header["alg"]}


@pytest.mark.parametrize("alg", ALL.split())
async def test_a_client_is_told_everything_by_the_algorithm_that_it_has_chosen(
    world: World, alg: str
) -> None:
    world.user("ada", email="ada@example.com")
    browser = Browser(world.api)
    with receiving() as receiver:
        chosen = dict.fromkeys(KINDS, alg)
        client = code_client(world, first_party=True, backchannel_logout_uri=receiver.uri, **chosen)
        flow = Flow(world, client)
        tokens = await flow.tokens(browser)
        told = await verified(world, tokens["id_token"])
        assert told["alg"] == alg
        if alg == "EdDSA":  # OpenID Connect Core §3.1.3.6, by Ed25519's own digest
            digest = sha512(tokens["access_token"].encode()).digest()[:32]
            assert told["at_hash"] == b64url_encode(digest).decode()
        about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
        assert (await verified(world, about.text))["alg"] == alg
        page, _ = await flow.start(browser, response_mode="jwt")
        answer = await verified(world, page.sent_to["response"])
        assert answer["alg"] == alg and answer["code"]
        # Its ID tokens come back as hints.
        page, _ = await flow.start(browser, prompt="none", id_token_hint=tokens["id_token"])
        assert page.sent_to["code"]
        await sign_out(browser)
        (token,) = await asyncio.to_thread(receiver.wait_for, 1)
        assert (await verified(world, token))["alg"] == alg


async def test_each_has_a_line_of_keys_of_its_own(world: World, settings: Any) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world, first_party=True, id_token_signed_response_alg="EdDSA"))
    browser = Browser(world.api)
    before = pyjwt.get_unverified_header((await flow.tokens(browser))["id_token"])["kid"]
    services = world.services
    made = await upkeep.material("EdDSA", services.master)
    with world.change() as session:
        rotation.rotate(session, settings, made, serves="EdDSA", now=True)
    tokens = await flow.tokens(browser)
    assert pyjwt.get_unverified_header(tokens["id_token"])["kid"] == made.kid != before
    assert await verified(world, tokens["id_token"])
    published = (await world.api.get("/.well-known/jwks.json")).json()["keys"]
    assert [key["alg"] for key in published].count("EdDSA") == 2
    assert [key["alg"] for key in published].count("PS256") == 1


async def test_nobody_can_choose_what_there_is_no_key_for(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings(id_token_algorithms="RS256", signing_algorithm="ES256"))
    async with running(app), served_by(app) as world:
        boss = await admin(world)
        asked = {"id": "app", "name": "App"}
        for name in KINDS:
            for alg in ("PS256", "EdDSA"):
                refusal = await boss("POST", "/clients", asked | {name: alg})
                assert pointers(refusal) == {f"/{name}"}
        made = await boss.done("POST", "/clients", asked | {KINDS[0]: "ES256"})
        assert made[KINDS[0]] == "ES256"
        refusal = await boss("PATCH", "/clients/app", {KINDS[0]: "EdDSA"})
        assert pointers(refusal) == {f"/{KINDS[0]}"}
        # What was good once stays, also where the setting of the service has changed.
        world.change_client("app", settings={KINDS[0]: "EdDSA"})
        await boss.done("PATCH", "/clients/app", {"contacts": ["ops@example.com"]})


async def test_what_is_new_is_named_once_its_key_signs(make_settings: Callable[..., Any]) -> None:
    """A service that is started with one algorithm more publishes its key first."""
    async with running(create_app(make_settings(id_token_algorithms="ES256 RS256"))):
        pass
    settings = make_settings(id_token_algorithms="ES256 RS256 EdDSA")
    app = create_app(settings)
    with frozen() as clock:
        async with running(app), served_by(app) as world:
            assert await named(world) == ["ES256", "RS256"]
            assert len((await world.api.get("/.well-known/jwks.json")).json()["keys"]) == 3
            clock.tick(lead(settings))
            await upkeep.tend(world.services.db, settings, world.services.master)
            await world.api.get("/.well-known/jwks.json")
            assert await named(world) == ["ES256", "RS256", "EdDSA"]


@asynccontextmanager
async def served_by(app: Any) -> AsyncIterator[World]:
    address = services_of(app).settings.issuer
    async with httpx.AsyncClient(transport=served(app), base_url=address) as api:
        yield World(app, api)


async def named(world: World) -> list[str]:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    found: list[str] = document["id_token_signing_alg_values_supported"]
    return found
