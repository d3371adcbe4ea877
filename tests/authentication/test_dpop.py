"""DPoP proofs here (RFC 9449): each once, of our own address, with a nonce where one is needed."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from identity import clock
from identity.directory.users.table import User
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.nonces import LIFE as NONCE_LIFE
from identity.verifier.nonces import Nonces
from tests.holding import NO_PROOF, Holder, challenge
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, World, bearer, claims_of, granted, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def ada(world: World) -> User:
    return world.user("ada", email="ada@example.com", roles=["admin"])


@pytest.fixture
def app_(world: World, ada: User) -> Holder:
    """A public client."""
    return Holder(world, world.client("app", public=True))


@pytest.fixture
def needs_nonce() -> bool:
    return False


@pytest.fixture
def settings(make_settings: Callable[..., Any], needs_nonce: bool) -> Any:
    return make_settings(dpop_nonce_required=needs_nonce)


# --- Proofs -----------------------------------------------------------------------------------


async def test_a_proof_is_taken_once_for_a_resource_on_all_replicas(
    app_: Holder, settings: Any
) -> None:
    from identity.app import create_app

    token = (await app_.log_in())["access_token"]
    headers = app_.key.headers("GET", app_.address("/users/me"), token)
    replica = create_app(settings)
    async with (
        running(replica),
        httpx.AsyncClient(transport=served(replica), base_url=settings.issuer) as second,
    ):
        here, there = app_.world.api, second
        both = [api.get("/users/me", headers=headers) for api in (here, there) * 4]
        answers = await asyncio.gather(*both)
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
        for answer in answers:
            if answer.status_code == 401:
                challenge(answer, "invalid_dpop_proof")
        again = await second.get("/users/me/sessions", headers=headers)
        challenge(again, "invalid_dpop_proof")  # of another address, too


async def test_a_proof_is_taken_once_at_the_token_endpoint(app_: Holder) -> None:
    job = Holder(app_.world, app_.world.client("job"), app_.key)
    proof = app_.key.proof("POST", app_.token_endpoint)
    asked = [job.token(proof, grant_type="client_credentials") for _ in range(8)]
    answers = await asyncio.gather(*asked)
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, *NO_PROOF)
    # Replayed with something that could be spent it spends nothing, and ends nobody's session.
    tokens = await app_.log_in()
    for _ in range(2):
        refused(await app_.refresh(tokens["refresh_token"], proof), *NO_PROOF)
    assert len(app_.world.refresh_tokens(claims_of(tokens["access_token"])["sid"])) == 1
    granted(await app_.refresh(tokens["refresh_token"]))


async def test_a_refusal_uses_up_no_proof_of_nobody(app_: Holder) -> None:
    """An anonymous visitor writes nothing: a public client's name is everybody's."""
    from sqlmodel import select

    from identity.authentication.once import UsedOnce

    wrong = {"grant_type": "password", "username": "ada", "password": "wrong horse"}
    for form in ({}, {"grant_type": "refresh_token", "refresh_token": "rt_x"}, wrong):
        assert (await app_.token(**form)).status_code == 400
    token = (await app_.log_in())["access_token"]
    assert (await Holder(app_.world).ask("/users/me", token)).status_code == 401
    with app_.world.change() as session:
        assert len(session.exec(select(UsedOnce)).all()) == 1


ODD: dict[str, dict[str, Any]] = {
    "of another method": {"htm": "GET"},
    "of another endpoint": {"htu": "http://127.0.0.1:8000/introspect"},
    "of another server": {"htu": "https://evil.example/token"},
    "a list of addresses": {"htu": ["http://127.0.0.1:8000/token"]},
    "of an hour ago": {"iat": 1},
    "without an id": {"jti": None},
    "without a time": {"iat": None},
    "without an address": {"htu": None},
    "without a method": {"htm": None},
    "an access token": {"header": {"typ": "at+jwt"}},
    "unsigned": {"header": {"alg": "none"}},
    "without a key": {"header": {"jwk": None}},
}


@SQLITE
async def test_a_login_with_a_bad_proof_is_refused_and_leaves_no_session(app_: Holder) -> None:
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    for name, claims in ODD.items():
        proof = app_.key.proof("POST", app_.token_endpoint, **claims)
        said = refused(await app_.token(proof, **login), *NO_PROOF)
        assert "DPoP" in said, name
    for proof in ("x", "a.b.c", f"{app_.key.proof('POST', app_.token_endpoint)}="):
        refused(await app_.token(proof, **login), *NO_PROOF)
    doubled = [("dpop", app_.key.proof("POST", app_.token_endpoint)) for _ in range(2)]
    assert app_.client is not None
    answer = await app_.world.api.post("/token", data=login | app_.client.post, headers=doubled)
    refused(answer, *NO_PROOF)
    assert await app_.world.events("login") == []


@SQLITE
async def test_a_proof_may_be_written_as_the_rfc_lets_it(app_: Holder) -> None:
    token = (await app_.log_in())["access_token"]
    ours = app_.address("/users/me")
    ways: list[dict[str, Any]] = [
        {"htu": f"{ours}?page=2#top"}, {"htu": ours.replace("http:", "HTTP:")},
        {"htu": ours.replace("/users", "/%75sers")}, {"iat": clock.now() - 10},
        {"iat": clock.now() + 10}, {"more": {"than": ["asked"]}},
    ]  # fmt: skip
    for claims in ways:
        assert (await app_.ask("/users/me", token, **claims)).status_code == 200, claims


@SQLITE
async def test_the_address_is_the_settings_and_never_the_host(app_: Holder) -> None:
    token = (await app_.log_in())["access_token"]
    headers = app_.key.headers("GET", "https://evil.example/users/me", token)
    for name in ("host", "x-forwarded-host"):
        answer = await app_.world.api.get("/users/me", headers=headers | {name: "evil.example"})
        challenge(answer, "invalid_dpop_proof")
    headers = app_.key.headers("GET", app_.address("/users/me"), token)
    answer = await app_.world.api.get("/users/me", headers=headers | {"host": "internal:8000"})
    assert answer.status_code == 200


@SQLITE
async def test_below_a_path_proofs_name_the_address_outside(
    make_settings: Callable[..., Any],
) -> None:
    from identity.app import create_app

    app = create_app(make_settings(issuer="https://host.example/identity"))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://inside") as api,
    ):
        holder = Holder(World(app, api))
        holder.world.user("ada")
        assert holder.token_endpoint == "https://host.example/identity/token"
        token = (await holder.log_in())["access_token"]
        assert (await holder.ask("/users/me", token)).status_code == 200
        path = "/users/me/sessions/01990000-0000-7000-8000-00000000000%30"
        assert (await holder.ask(path, token, "DELETE")).status_code == 404


# --- Nonces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("needs_nonce", [True])
async def test_where_nonces_are_needed_a_client_is_given_one(app_: Holder) -> None:
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    answer = await app_.token(**login)
    refused(answer, 400, "use_dpop_nonce")
    assert await app_.world.events("token.refused") == []  # it is how everybody begins
    nonce = answer.headers["dpop-nonce"]
    proof = app_.key.proof("POST", app_.token_endpoint, nonce=nonce)
    token = granted(await app_.token(proof, **login))["access_token"]
    for path in ("/users/me", "/users/me/sessions"):
        answer = await app_.ask(path, token)
        challenge(answer, "use_dpop_nonce")
        assert (await app_.ask(path, token, nonce=answer.headers["dpop-nonce"])).status_code == 200
        assert (await app_.ask(path, token, nonce=nonce)).status_code == 200  # any of ours


async def test_a_nonce_that_is_not_ours_or_too_old_is_answered_with_another(app_: Holder) -> None:
    token = (await app_.log_in())["access_token"]
    strange = Nonces([b"x" * 32], clock.now).new()
    for nonce in ("", "x", strange, strange[:-1], "n" * 384, "\u00e9"):
        answer = await app_.ask("/users/me", token, nonce=nonce)
        challenge(answer, "use_dpop_nonce")
        fresh = answer.headers["dpop-nonce"]
        assert (await app_.ask("/users/me", token, nonce=fresh)).status_code == 200
    with clock.frozen() as hand:
        answer = await app_.ask("/users/me", token, nonce="x")
        fresh = answer.headers["dpop-nonce"]
        hand.tick(NONCE_LIFE - 1)
        assert (await app_.ask("/users/me", token, nonce=fresh)).status_code == 200
        hand.tick(2)
        challenge(await app_.ask("/users/me", token, nonce=fresh), "use_dpop_nonce")
        proof = app_.key.proof("POST", app_.token_endpoint, nonce=fresh)
        refused(await app_.token(proof, grant_type="password"), 400, "use_dpop_nonce")


async def test_a_nonce_is_good_on_every_replica(app_: Holder, settings: Any) -> None:
    from identity.app import create_app

    token = (await app_.log_in())["access_token"]
    replica = create_app(settings)
    async with (
        running(replica),
        httpx.AsyncClient(transport=served(replica), base_url=settings.issuer) as api,
    ):
        elsewhere = Holder(World(replica, api), app_.client, app_.key)
        answer = await elsewhere.ask("/users/me", token, nonce="x")
        nonce = answer.headers["dpop-nonce"]
        assert (await app_.ask("/users/me", token, nonce=nonce)).status_code == 200
        assert (await elsewhere.ask("/users/me", token, nonce=nonce)).status_code == 200


# --- Gateways, browsers, metadata -------------------------------------------------------------


async def test_a_gateway_that_says_what_it_was_asked_for_lets_a_bound_token_pass(
    app_: Holder,
) -> None:
    token = (await app_.log_in())["access_token"]
    api, at = app_.world.api, "/forward-auth?address=https://orders.example/"

    def asked(**claims: Any) -> dict[str, str]:
        return app_.key.headers("PUT", "https://orders.example/orders/1", token, **claims)

    for uri, method in (("x-forwarded-uri", "x-forwarded-method"), ("x-original-uri",) * 2):
        where = {uri: "/orders/1?x=2", method.replace("-uri", "-method"): "PUT"}
        headers = asked()
        assert (await api.get(at, headers=headers | where)).status_code == 200
        challenge(await api.get(at, headers=headers | where), "invalid_dpop_proof")
        challenge(await api.get(at, headers=asked(htm="GET") | where), "invalid_dpop_proof")
        challenge(await api.get(at, headers=asked(ath=None) | where), "invalid_dpop_proof")
        elsewhere = where | {uri: "/orders/2"}
        challenge(await api.get(at, headers=asked() | elsewhere), "invalid_dpop_proof")
        challenge(await api.get(at, headers=bearer(token) | where), "invalid_token")
        unready = [("/forward-auth", where), (at, {}), (at, {uri: "/orders/1"})]
        for address, said in unready:  # it cannot take such tokens, so it asks for no proof
            answer = await api.get(address, headers=asked() | said)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    to_us = app_.key.headers("GET", app_.address("/forward-auth"), token)
    assert (await api.get("/forward-auth", headers=to_us)).status_code == 401
    lacking = await api.get(
        f"{at}&scope=orders:read",
        headers=asked() | {"x-original-uri": "/orders/1", "x-original-method": "PUT"},
    )
    assert lacking.status_code == 403
    assert 'scope="orders:read"' in lacking.headers["www-authenticate"]


@SQLITE
async def test_metadata_name_the_algorithms(world: World) -> None:
    for name in ("openid-configuration", "oauth-authorization-server"):
        metadata = (await world.api.get(f"/.well-known/{name}")).json()
        assert metadata["dpop_signing_alg_values_supported"] == list(ALGORITHMS)


@SQLITE
async def test_a_page_elsewhere_may_send_proofs_and_read_nonces(
    make_settings: Callable[..., Any],
) -> None:
    from identity.app import create_app

    app = create_app(make_settings(cors_origins="https://app.example"))
    origin = {"origin": "https://app.example"}
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,dpop",
    }
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://test") as api,
    ):
        for path in ("/token", "/userinfo"):
            answer = await api.options(path, headers=origin | asked)
            assert answer.status_code == 200, answer.text
            answer = await api.post(path, headers=origin)
            assert "DPoP-Nonce" in answer.headers["access-control-expose-headers"]
