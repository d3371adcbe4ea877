"""Tokens bound to a certificate (RFC 8705 §3): how clients get them, and that nobody else can use
them."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import httpx
import pytest

from identity.directory.users.table import User
from identity.settings import Settings
from identity.verifier.certificates import thumbprint
from identity.verifier.gate.algorithms import ALGORITHMS
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.certificates import Issued, by_itself, jwk
from tests.holding import NO_PROOF, Holder, challenge, new_key
from tests.pushing import come
from tests.transport import served
from tests.world import PASSWORD, Caller, World, bearer, claims_of, granted, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
PROXY = "127.0.0.1"
LOGIN = {"grant_type": "password", "username": "ada", "password": PASSWORD}
BOUND = {"tls_client_certificate_bound_access_tokens": True}
WEAK = "header.alg: alg is not one of ES256, EdDSA, PS256"
MTLS = "https://mtls.id.example"
NOT_THAT_ONE = "the token is bound to a certificate: the request came with another or none"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(trusted_proxies=PROXY, certificate_proxies=PROXY, mtls_address=MTLS)


@pytest.fixture
def ada(world: World) -> User:
    return world.user("ada", email="ada@example.com", roles=["admin"])


@pytest.fixture
def own() -> Issued:
    return by_itself()


@pytest.fixture
def other() -> Issued:
    return by_itself()


def bound(world: World, client_id: str = "shop", *, public: bool = False, **more: Any) -> Caller:
    client = world.client(client_id, public=public)
    world.change_client(client_id, settings=BOUND | more)
    return client


async def token(world: World, client: Caller, held: Issued | None, **form: str) -> httpx.Response:
    headers = held.headers if held else {}
    return await world.api.post("/token", data=form | client.post, headers=headers)


async def refresh(
    world: World, client: Caller, held: Issued | None, refresh_token: str
) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return await token(world, client, held, **form)


async def ask(
    world: World, path: str, access_token: str, held: Issued | None, method: str = "GET"
) -> httpx.Response:
    headers = bearer(access_token) | (held.headers if held else {})
    data = {"token": access_token} if method == "POST" else None
    return await world.api.request(method, path, headers=headers, data=data)


def not_theirs(answer: httpx.Response) -> None:
    """The challenge of scheme Bearer: a proof by DPoP would not help."""
    assert answer.status_code == 401, answer.text
    said = answer.headers["www-authenticate"]
    assert said.startswith("Bearer ") and 'error="invalid_token"' in said, said
    assert NOT_THAT_ONE in said


# --- Getting them -----------------------------------------------------------------------------


async def test_every_grant_binds_its_tokens_where_the_client_asks_for_that(
    world: World, ada: User, own: Issued
) -> None:
    cnf = {"x5t#S256": own.x5t}
    client = bound(world)
    login = granted(await token(world, client, own, **LOGIN))
    alone = granted(await token(world, client, own, grant_type="client_credentials"))
    again = granted(await refresh(world, client, own, login["refresh_token"]))
    flow = Flow(world, code_client(world, "web", first_party=True, **BOUND))
    code, verifier = await flow.signed_in(Browser(world.api))
    form = {"code": code, "code_verifier": verifier, "redirect_uri": CALLBACK}
    web = granted(await token(world, flow.client, own, grant_type="authorization_code", **form))
    for answer in (login, alone, again, web):
        assert answer["token_type"] == "Bearer"
        assert claims_of(answer["access_token"])["cnf"] == cnf
        told = await world.introspect(answer["access_token"])
        assert (told["token_type"], told["cnf"]) == ("Bearer", cnf)
    assert cnf["x5t#S256"] == thumbprint(own.der) and len(thumbprint(own.der)) == 43


async def test_a_client_that_is_set_so_gets_no_token_without(
    world: World, ada: User, own: Issued
) -> None:
    client = bound(world)
    login = granted(await token(world, client, own, **LOGIN))
    refused(await token(world, client, None, **LOGIN), 400, "invalid_request")
    alone = await token(world, client, None, grant_type="client_credentials")
    refused(alone, 400, "invalid_request")
    refused(await refresh(world, client, None, login["refresh_token"]), 400, "invalid_request")
    granted(await refresh(world, client, own, login["refresh_token"]))


@SQLITE
async def test_whoever_does_not_ask_for_it_gets_tokens_as_before(
    world: World, ada: User, own: Issued
) -> None:
    client = world.client("shop")
    login = granted(await token(world, client, own, **LOGIN))
    assert "cnf" not in claims_of(login["access_token"])
    granted(await refresh(world, client, None, login["refresh_token"]))


@SQLITE
async def test_nobody_binds_tokens_to_what_a_stranger_says(
    world: World, ada: User, own: Issued
) -> None:
    client = bound(world)
    transport = served(world.app, client=("10.9.9.9", 1))
    issuer = world.services.settings.issuer
    async with httpx.AsyncClient(transport=transport, base_url=issuer) as stranger:
        answer = await stranger.post("/token", data=LOGIN | client.post, headers=own.headers)
        refused(answer, 400, "invalid_request")


# --- Using them -------------------------------------------------------------------------------

EVERYWHERE = [
    ("GET", "/users/me"),
    ("GET", "/users/me/sessions"),
    ("GET", "/users"),
    ("GET", "/userinfo"),
    ("POST", "/userinfo"),
    ("GET", "/revocations?wait=0"),
    ("POST", "/introspect"),
    ("GET", "/forward-auth"),
]


async def test_whoever_has_a_token_and_not_its_certificate_cannot_use_it(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    client = bound(world)
    held = granted(await token(world, client, own, scope="* openid", **LOGIN))["access_token"]
    transport = served(world.app, client=("10.9.9.9", 1))
    issuer = world.services.settings.issuer
    async with httpx.AsyncClient(transport=transport, base_url=issuer) as stranger:
        for method, path in EVERYWHERE:
            not_theirs(await ask(world, path, held, None, method))
            not_theirs(await ask(world, path, held, other, method))
            data = {"token": held} if method == "POST" else None
            forged = bearer(held) | own.headers
            not_theirs(await stranger.request(method, path, headers=forged, data=data))
            answer = await ask(world, path, held, own, method)
            assert answer.status_code == 200, (path, answer.text)


@SQLITE
async def test_of_two_certificates_none_is_believed(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    client = bound(world)
    held = granted(await token(world, client, own, **LOGIN))["access_token"]
    pair = [("client-cert", each.headers["client-cert"]) for each in (own, other)]
    for path in ("/users/me", "/users/me/sessions"):
        for both in (pair, pair[::-1]):
            headers = [*bearer(held).items(), *both]
            answer = await world.api.get(path, headers=headers)
            assert answer.status_code in (400, 401), answer.text


@SQLITE
async def test_a_token_that_is_bound_to_nothing_may_come_with_any_certificate(
    world: World, ada: User, own: Issued
) -> None:
    held = (await world.log_in())["access_token"]
    for path in ("/users/me", "/users/me/sessions"):
        assert (await ask(world, path, held, own)).status_code == 200


# --- Refresh tokens ---------------------------------------------------------------------------


async def test_a_public_clients_refresh_token_needs_the_very_certificate(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    client = bound(world, "app", public=True)
    first = granted(await token(world, client, own, **LOGIN))
    refused(await refresh(world, client, other, first["refresh_token"]), 400, "invalid_grant")
    second = granted(await refresh(world, client, own, first["refresh_token"]))
    refused(await refresh(world, client, other, second["refresh_token"]), 400, "invalid_grant")
    # Whatever is set about the client meanwhile.
    world.change_client("app", settings={})
    refused(await refresh(world, client, None, second["refresh_token"]), 400, "invalid_grant")
    refused(await refresh(world, client, other, second["refresh_token"]), 400, "invalid_grant")
    third = granted(await refresh(world, client, own, second["refresh_token"]))
    assert "cnf" not in claims_of(third["access_token"])


async def test_a_codes_refresh_token_too(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    flow = Flow(world, code_client(world, "app", public=True, first_party=True, **BOUND))
    code, verifier = await flow.signed_in(Browser(world.api))
    form = {"code": code, "code_verifier": verifier, "redirect_uri": CALLBACK}
    first = granted(await token(world, flow.client, own, grant_type="authorization_code", **form))[
        "refresh_token"
    ]
    refused(await refresh(world, flow.client, other, first), 400, "invalid_grant")
    granted(await refresh(world, flow.client, own, first))


async def test_a_confidential_client_may_renew_its_certificate_but_not_do_without(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    client = bound(world)
    first = granted(await token(world, client, own, **LOGIN))
    second = granted(await refresh(world, client, other, first["refresh_token"]))
    assert claims_of(second["access_token"])["cnf"] == {"x5t#S256": other.x5t}
    world.change_client("shop", settings={})
    refused(await refresh(world, client, None, second["refresh_token"]), 400, "invalid_grant")


# --- Beside DPoP ------------------------------------------------------------------------------


async def test_what_is_bound_to_both_takes_both(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    client = bound(world, "app", public=True)
    key, thief = new_key(), new_key()
    here = Holder(world, client, key)

    async def with_proof(by: Any, held: Issued | None, **form: str) -> httpx.Response:
        headers = {"dpop": by.proof("POST", here.token_endpoint), **(held.headers if held else {})}
        return await world.api.post("/token", data=form | client.post, headers=headers)

    tokens = granted(await with_proof(key, own, **LOGIN))
    held = tokens["access_token"]
    assert tokens["token_type"] == "DPoP"
    cnf = {"jkt": key.jkt, "x5t#S256": own.x5t}
    assert claims_of(held)["cnf"] == cnf == (await world.introspect(held))["cnf"]

    async def at(path: str, by: Any, certificate: Issued | None) -> httpx.Response:
        headers: Mapping[str, str] = bearer(held)
        if by is not None:
            headers = by.headers("GET", here.address(path), held)
        more = certificate.headers if certificate else {}
        return await world.api.get(path, headers={**headers, **more})

    for path in ("/users/me", "/users/me/sessions"):
        for certificate in (None, other):
            challenge(await at(path, key, certificate), "invalid_token")
        challenge(await at(path, thief, own), "invalid_token")
        challenge(await at(path, None, own), "invalid_token")
        assert (await at(path, key, own)).status_code == 200

    again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for by, certificate in ((thief, own), (key, other), (thief, other)):
        refused(await with_proof(by, certificate, **again), 400, "invalid_grant")
    refused(await token(world, client, own, **again), 400, "invalid_grant")
    refused(await with_proof(key, None, **again), 400, "invalid_request")
    assert claims_of(granted(await with_proof(key, own, **again))["access_token"])["cnf"] == cnf


@SQLITE
async def test_one_binding_is_not_the_other(world: World, ada: User, own: Issued) -> None:
    by_certificate = bound(world)
    held = granted(await token(world, by_certificate, own, **LOGIN))["access_token"]
    thief = Holder(world)
    headers = thief.key.headers("GET", thief.address("/users/me"), held)
    for more in ({}, own.headers):
        answer = await world.api.get("/users/me", headers=headers | more)
        challenge(answer, "invalid_token")
    holder = Holder(world, world.client("app", public=True))
    by_key = (await holder.log_in())["access_token"]
    challenge(await ask(world, "/users/me", by_key, own), "invalid_token")


@SQLITE
async def test_a_proof_may_name_the_address_where_certificates_are_asked_for(
    world: World, ada: User, own: Issued
) -> None:
    client, key = bound(world), new_key()
    for address, good in (
        (f"{MTLS}/token", True),
        (f"{MTLS}/par", False),
        ("https://evil.example/token", False),
    ):
        headers = {"dpop": key.proof("POST", address)} | own.headers
        answer = await world.api.post("/token", data=LOGIN | client.post, headers=headers)
        if good:
            granted(answer)
        else:
            refused(answer, *NO_PROOF)


# --- FAPI 2.0 ---------------------------------------------------------------------------------


def bank(world: World, own: Issued, **more: Any) -> Flow:
    client = code_client(
        world, "bank", first_party=True, profile="fapi2",
        require_pushed_authorization_requests=True, id_token_signed_response_alg="ES256",
        token_endpoint_auth_method="self_signed_tls_client_auth",
        jwks={"keys": [jwk(own, whole=True)]}, **more,
    )  # fmt: skip
    return Flow(world, Caller(client.id, None))


async def test_a_fapi2_client_needs_nothing_but_its_certificate(
    world: World, ada: User, own: Issued, other: Issued
) -> None:
    flow = bank(world, own, **BOUND)
    parameters, verifier = flow.parameters()
    refused(await world.api.post("/par", data=parameters), 401, "invalid_client")
    answer = await world.api.post("/par", data=parameters, headers=other.headers)
    refused(answer, 401, "invalid_client")
    answer = await world.api.post("/par", data=parameters, headers=own.headers)
    assert answer.status_code == 201, answer.text
    browser = Browser(world.api)
    page = await browser.sign_in(await come(browser, flow, answer.json()["request_uri"]))
    form = {"code": page.sent_to["code"], "code_verifier": verifier, "redirect_uri": CALLBACK}
    redeem = {"grant_type": "authorization_code", **form}
    refused(await token(world, flow.client, None, **redeem), 401, "invalid_client")
    tokens = granted(await token(world, flow.client, own, **redeem))
    assert claims_of(tokens["access_token"])["cnf"] == {"x5t#S256": own.x5t}
    again = granted(await refresh(world, flow.client, own, tokens["refresh_token"]))
    assert again["refresh_token"] == tokens["refresh_token"]
    for each in (tokens, again):
        assert (await ask(world, "/userinfo", each["access_token"], own)).status_code == 200
        not_theirs(await ask(world, "/userinfo", each["access_token"], None))


async def test_fapi2_takes_no_proof_by_rs256(world: World, ada: User, own: Issued) -> None:
    """§5.4.1, at a resource too: the very key that has proved itself by another algorithm."""
    flow = bank(world, own, dpop_bound_access_tokens=True)
    strong = new_key("PS256")
    private = ALGORITHMS["PS256"].generate()
    strong.jwk = {k: v for k, v in ALGORITHMS["PS256"].jwk(private).items() if k in "kty n e"}
    strong._sign = ALGORITHMS["PS256"].signer(private)
    weak = copy(strong)
    weak.algorithm, weak._sign = "RS256", ALGORITHMS["RS256"].signer(private)
    here = Holder(world, flow.client)
    for path, form in (("/token", {"grant_type": "refresh_token"}), ("/par", flow.parameters()[0])):
        headers = {"dpop": weak.proof("POST", here.address(path))} | own.headers
        answer = await world.api.post(path, data=form | flow.client.post, headers=headers)
        assert WEAK in refused(answer, *NO_PROOF), path
    parameters, verifier = flow.parameters()
    proof = {"dpop": strong.proof("POST", here.address("/par"))}
    answer = await world.api.post("/par", data=parameters, headers=own.headers | proof)
    browser = Browser(world.api)
    page = await browser.sign_in(await come(browser, flow, answer.json()["request_uri"]))
    form = {"code": page.sent_to["code"], "code_verifier": verifier, "redirect_uri": CALLBACK}
    redeem = {"grant_type": "authorization_code", **form, **flow.client.post}
    proof = {"dpop": strong.proof("POST", here.token_endpoint)}
    tokens = granted(await world.api.post("/token", data=redeem, headers=own.headers | proof))
    held = tokens["access_token"]
    good = strong.headers("GET", here.address("/userinfo"), held)
    assert (await world.api.get("/userinfo", headers=good)).status_code == 200
    bad = weak.headers("GET", here.address("/userinfo"), held)
    answer = await world.api.get("/userinfo", headers=bad)
    assert WEAK in challenge(answer, "invalid_dpop_proof")
    # Whoever is not of that profile may.
    shop = Holder(world, world.client("shop"), weak)
    assert (await shop.ask("/users/me", (await shop.log_in())["access_token"])).status_code == 200
