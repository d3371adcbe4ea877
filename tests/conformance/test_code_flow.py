"""Lines of the code flow that no other test of ours stands for; `docs/conformance.md` has all."""

import random
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlencode

import pytest

from identity.opaque import digest
from identity.tokens.codes import AuthorizationCode
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.conformance.lines import line
from tests.oauth.authorize.test_requests import told
from tests.world import KNOWN, World, bearer, claims_of, granted, refused

UNRESERVED = string.ascii_letters + string.digits + "-._~"
"""Of which a code verifier is made (RFC 7636 §4.1)."""


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada", email="ada@example.com", name="Ada", known=KNOWN)
    return Flow(world, code_client(world, first_party=True))


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


@line("Code flow", "A code has at least 128 bits")
async def test_a_code_has_at_least_128_bits(flow: Flow, browser: Browser) -> None:
    codes = [(await flow.signed_in(browser))[0] for _ in range(8)]
    secrets = [urlsafe_b64decode(code.partition("_")[2] + "=") for code in codes]
    assert len(set(secrets)) == len(secrets)
    assert all(len(secret) >= 16 for secret in secrets)
    # No octet is the same in all of them, as that of a counter or a clock would be.
    assert all(len(set(column)) > 1 for column in zip(*secrets, strict=True))


@line("Code flow", "`iss` is right, in answers and in errors")
async def test_iss_is_the_issuer_of_the_metadata(flow: Flow, browser: Browser) -> None:
    document = (await flow.world.api.get("/.well-known/openid-configuration")).json()
    assert document["authorization_response_iss_parameter_supported"] is True
    page, _ = await flow.start(browser, prompt="none")
    assert told(page, "login_required")["iss"] == document["issuer"]
    page = await browser.sign_in((await flow.start(browser))[0])
    assert page.sent_to["code"] and page.sent_to["iss"] == document["issuer"]


@line("Code flow", "The ID token has `nonce` exactly if one was sent; no nonce is fine")
async def test_the_nonce_is_there_exactly_if_it_was_sent(flow: Flow, browser: Browser) -> None:
    for nonce in ("n", " a+b%20ü\u2028", "x" * 1000, None):
        claims = claims_of((await flow.tokens(browser, nonce=nonce))["id_token"])
        assert claims.get("nonce") == nonce and ("nonce" in claims) == (nonce is not None)


@line("Code flow", "`profile`, `email`, `address`, `phone` come from userinfo, not in the ID token")
@line("Code flow", "`updated_at` is a number")
async def test_claims_of_scopes_come_from_userinfo_alone(flow: Flow, browser: Browser) -> None:
    tokens = await flow.tokens(browser, scope="openid profile email address phone")
    headers = bearer(tokens["access_token"])
    said = (await flow.world.api.get("/userinfo", headers=headers)).json()
    expected = {*KNOWN, "name", "preferred_username", "updated_at", "email", "email_verified",
                "phone_number_verified", "sub"}  # fmt: skip
    assert set(said) == expected
    assert type(said["updated_at"]) is int and said["address"] == KNOWN["address"]
    assert type(said["email_verified"]) is bool and type(said["phone_number_verified"]) is bool
    assert set(claims_of(tokens["id_token"])) & expected == {"sub"}


@line("Code flow", "The order of scopes and of parameters means nothing")
async def test_the_order_of_scopes_and_parameters_means_nothing(
    flow: Flow, browser: Browser
) -> None:
    scopes = ["openid", "profile", "email", "address"]
    await browser.sign_in(await browser.get("/sign-in"))
    said = []
    for turned in (1, -1):
        parameters, verifier = flow.parameters(scope=" ".join(scopes[::turned]))
        pairs = list(parameters.items())[::turned]
        page = await browser.get(f"/authorize?{urlencode(pairs)}")
        tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
        assert set(tokens["scope"].split()) == set(scopes)
        headers = bearer(tokens["access_token"])
        said.append((await flow.world.api.get("/userinfo", headers=headers)).json())
    assert said[0] == said[1]


@line("Code flow", "A code used again after 30 s is `invalid_grant`, and the access token dies")
async def test_a_code_used_again_after_half_a_minute_is_refused_and_ends_the_token(
    flow: Flow, browser: Browser
) -> None:
    code, verifier = await flow.signed_in(browser)
    tokens = granted(await flow.redeem(code, verifier))
    with flow.world.change() as session:
        row = session.get_one(AuthorizationCode, digest(code))
        assert row.used_at is not None
        row.used_at -= timedelta(seconds=30)
        row.expires_at -= timedelta(seconds=30)
        session.add(row)
    refused(await flow.redeem(code, verifier), 400, "invalid_grant")
    answer = await flow.world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert answer.status_code == 401


@line("Code flow", "Basic and Post both work and are advertised")
async def test_basic_and_post_both_work_and_are_advertised(flow: Flow, browser: Browser) -> None:
    api, client = flow.world.api, flow.client
    document = (await api.get("/.well-known/openid-configuration")).json()
    named = document["token_endpoint_auth_methods_supported"]
    for method in ("client_secret_basic", "client_secret_post"):
        assert method in named
        flow.world.change_client(
            client.id,
            settings={
                "redirect_uris": [CALLBACK],
                "first_party": True,
                "token_endpoint_auth_method": method,
            },
        )
        for sent in ("client_secret_basic", "client_secret_post"):
            code, verifier = await flow.signed_in(browser)
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier,
                    "redirect_uri": CALLBACK}  # fmt: skip
            if sent == "client_secret_basic":
                answer = await api.post("/token", data=form, headers=client.basic)
            else:
                answer = await api.post("/token", data=form | client.post)
            assert (answer.status_code == 200) is (sent == method), answer.text


@line("Code flow", "Another client's refresh token fails")
async def test_another_clients_refresh_token_fails(flow: Flow, browser: Browser) -> None:
    world = flow.world
    other = code_client(world, "other", first_party=True)
    tokens = await flow.tokens(browser)
    refused(await world.refresh(tokens["refresh_token"], other), 400, "invalid_grant")
    # And is none the worse for it.
    assert (await world.refresh(tokens["refresh_token"], flow.client)).status_code == 200


@line("Code flow", "Valid PKCE always succeeds")
async def test_valid_pkce_always_succeeds(flow: Flow, browser: Browser) -> None:
    chance = random.Random(7636)
    verifiers = [UNRESERVED[:43], UNRESERVED[-43:], "~" * 128, "-" * 43]
    verifiers += ["".join(chance.choices(UNRESERVED, k=n)) for n in (43, 44, 64, 127, 128)]
    for verifier in verifiers:
        hashed = sha256(verifier.encode()).digest()
        challenge = urlsafe_b64encode(hashed).rstrip(b"=").decode()
        code, _ = await flow.signed_in(browser, code_challenge=challenge)
        assert (await flow.redeem(code, verifier)).status_code == 200, verifier


@line("Code flow", "Essential claims that are there are told")
async def test_essential_claims_are_told_where_they_were_asked_for(
    flow: Flow, browser: Browser
) -> None:
    wanted = (
        '{"userinfo": {"email": {"essential": true}},'
        ' "id_token": {"name": {"essential": true}, "auth_time": {"essential": true}}}'
    )
    tokens = await flow.tokens(browser, scope="openid", claims=wanted)
    claims = claims_of(tokens["id_token"])
    assert claims["name"] == "Ada" and claims["auth_time"]
    headers = bearer(tokens["access_token"])
    said = (await flow.world.api.get("/userinfo", headers=headers)).json()
    assert said == {"sub": claims["sub"], "email": "ada@example.com"}


@line("Code flow", "Tokens in a query are refused")
async def test_a_token_in_a_query_is_refused(flow: Flow, browser: Browser) -> None:
    token = (await flow.tokens(browser))["access_token"]
    for method in ("GET", "POST"):
        answer = await flow.world.api.request(method, f"/userinfo?access_token={token}")
        assert answer.status_code == 401


@line("Registration", "Policy and terms are shown on the sign-in page")
async def test_policy_and_terms_are_shown_where_somebody_signs_in(
    world: World, browser: Browser
) -> None:
    papers = {
        "policy_uri": "https://shop.example/privacy",
        "tos_uri": "https://shop.example/terms",
    }
    flow = Flow(world, code_client(world, **papers))
    page, _ = await flow.start(browser)
    assert page.title.startswith("Sign in")
    for address in papers.values():
        assert f'href="{address}"' in page.answer.text


@line("Registration", "A registered query must match exactly")
async def test_a_registered_query_must_match_exactly(world: World, browser: Browser) -> None:
    uri = f"{CALLBACK}?tenant=1&x=2"
    flow = Flow(world, code_client(world, redirect_uris=[uri]), uri)
    assert (await flow.start(browser))[0].title.startswith("Sign in")
    for other in (
        CALLBACK,
        f"{CALLBACK}?",
        f"{CALLBACK}?tenant=1",
        f"{CALLBACK}?x=2&tenant=1",
        f"{uri}&y=3",
        f"{CALLBACK}?tenant=1&x=%32",
        uri.replace("?", "?tenant=2&"),
    ):
        page, _ = await flow.start(browser, redirect_uri=other)
        assert page.status == 400 and "location" not in page.answer.headers, other
