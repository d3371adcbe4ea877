"""Request objects (RFC 9101): what the client signed, and nothing around it."""

import json
import warnings
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from identity import clock
from identity.authentication.assertions import ASSERTION_TYPE
from identity.directory.clients.table import Client
from identity.http.fetching import Fetcher, FetchFailed
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.elsewhere import Answer, elsewhere
from tests.oauth.authorize.test_requests import CHALLENGE, told
from tests.oauth.authorize.test_return_addresses import assert_stays
from tests.pushing import age, come, rows
from tests.signing import Signer
from tests.signing import said as assertion
from tests.world import World, claims_of, granted, refused

EC, OTHER, RSA = (
    ECKey.generate_key("P-256", {"kid": "ec"}),
    ECKey.generate_key("P-256", {"kid": "other"}),
    RSAKey.generate_key(2048, {"kid": "rsa"}),
)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
JWKS = {"keys": [key.as_dict(private=False) for key in (EC, RSA, ED)]}
ISSUER = "http://127.0.0.1:8000"
HEADER = {"alg": "ES256", "kid": "ec", "typ": "oauth-authz-req+jwt"}


def signed(claims: dict[str, Any], key: Any = EC, **header: Any) -> str:
    """None takes a member out."""
    members = {name: value for name, value in (HEADER | header).items() if value is not None}
    registry = jws.JWSRegistry(algorithms=["ES256", "RS256", "PS256", "EdDSA", "HS256", "none"],
                               strict_check_header=False)  # fmt: skip
    body = json.dumps({name: v for name, v in claims.items() if v is not None}).encode()
    with warnings.catch_warnings():  # RFC 9864 gives EdDSA on this curve a name of its own
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(members, body, key, registry=registry)


def bank(world: World, client_id: str = "shop", **settings: Any) -> Flow:
    settings.setdefault("jwks", JWKS)
    return Flow(world, code_client(world, client_id, **settings))


def claims(flow: Flow, **changed: Any) -> tuple[dict[str, Any], str]:
    """Of a good request object, and the verifier that belongs to it. None takes one out."""
    parameters, verifier = flow.parameters()
    now = int(clock.now())
    said = {
        "iss": flow.client.id,
        "aud": flow.world.services.settings.issuer,
        "nbf": now,
        "iat": now,
        "exp": now + 300,
        **parameters,
        **changed,
    }
    return {name: value for name, value in said.items() if value is not None}, verifier


async def bring(browser: Browser, flow: Flow, text: str, **beside: str) -> Page:
    query = {"client_id": flow.client.id, "request": text, **beside}
    return await browser.get("/authorize", params=query)


async def signed_in(world: World) -> Browser:
    world.user()
    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    return browser


async def test_a_signed_request_is_all_that_counts(world: World) -> None:
    flow, browser = bank(world, first_party=True), await signed_in(world)
    said, verifier = claims(flow, scope="openid", state=None, nonce=None)
    beside = {
        "redirect_uri": "https://evil.example/", "state": "mine", "nonce": "mine",
        "scope": "openid email", "response_mode": "fragment", "prompt": "login",
        "response_type": "token", "code_challenge": CHALLENGE, "claims": "{",
    }  # fmt: skip
    page = await bring(browser, flow, signed(said), **beside)
    assert page.answer.headers["location"].startswith(f"{CALLBACK}?")
    assert set(page.sent_to) == {"code", "iss"}
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert tokens["scope"] == "openid" and "nonce" not in claims_of(tokens["id_token"])
    # What is missing inside is not taken from around it.
    said, _ = claims(flow, code_challenge=None)
    page = await bring(browser, flow, signed(said), code_challenge=CHALLENGE)
    told(page, "invalid_request")


async def test_every_algorithm_of_its_keys_will_do_unless_one_is_set(world: World) -> None:
    flow, browser = bank(world), await signed_in(world)
    one = bank(world, "one", request_object_signing_alg="PS256")
    for alg, key in (("ES256", EC), ("RS256", RSA), ("PS256", RSA), ("EdDSA", ED)):
        text = signed(claims(flow)[0], key, alg=alg, kid=key.kid)
        assert (await bring(browser, flow, text)).title.startswith("Allow"), alg
        page = await bring(browser, one, signed(claims(one)[0], key, alg=alg, kid=key.kid))
        assert page.title.startswith("Allow") if alg == "PS256" else page.status == 400, alg


async def test_the_header_may_say_less_and_what_we_do_not_know(world: World) -> None:
    flow, browser = bank(world), await signed_in(world)
    for header in (
        {"typ": None}, {"typ": "JWT"}, {"typ": "application/oauth-authz-req+jwt"}, {"kid": None},
        {"x5t": "abc"}, {"jku": "https://evil.example/jwks"},
    ):  # fmt: skip
        page = await bring(browser, flow, signed(claims(flow)[0], **header))
        assert page.title.startswith("Allow"), header


async def test_what_is_not_signed_as_it_must_be_gets_a_page(world: World) -> None:
    flow, browser = bank(world), await signed_in(world)
    said, _ = claims(flow)
    good = signed(said)
    head, body, signature = good.split(".")
    secret = OctKey.import_key(flow.client.secret or "")
    for text in (
        signed(said, OTHER, kid="ec"),
        signed(said, OTHER, kid="other"),
        signed(said, OTHER, kid="ec", jwk=OTHER.as_dict(private=False)),
        signed(said, secret, alg="HS256", kid=None),
        signed(said, RSA, alg="RS256", kid="ec"),
        signed(said, typ="at+jwt"),
        signed(said, typ="logout+jwt"),
        signed(said, typ="dpop+jwt"),
        signed(said, typ="oauth-authz-resp+jwt"),
        signed(said, crit=["kid"]),
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{good}.",
        "e30.e30.e30",
        "nonsense",
    ):
        assert_stays(await bring(browser, flow, text, redirect_uri=CALLBACK))


async def test_another_clients_key_is_none(world: World) -> None:
    browser = await signed_in(world)
    flow = bank(world, jwks={"keys": [OTHER.as_dict(private=False)]})
    bank(world, "other")
    assert_stays(await bring(browser, flow, signed(claims(flow)[0])))


async def test_it_is_for_us_from_the_client_and_from_this_hour(world: World) -> None:
    flow, browser = bank(world), await signed_in(world)
    now, issuer = int(clock.now()), world.services.settings.issuer
    for changed in (
        {"aud": [issuer, "https://other.example"]},
        {"nbf": now + 8},
        {"nbf": now - 3000, "exp": now + 300},
        {"iat": None},
        {"client_id": None},
        {"jti": "a", "sub": "somebody"},
    ):
        page = await bring(browser, flow, signed(claims(flow, **changed)[0]))
        assert page.title.startswith("Allow"), changed
    for changed in (
        {"aud": None}, {"aud": "https://other.example"}, {"aud": f"{issuer}/"}, {"aud": []},
        {"aud": {"a": issuer}}, {"exp": None}, {"exp": now - 60}, {"exp": "soon"}, {"nbf": None},
        {"nbf": now + 90}, {"nbf": True}, {"nbf": now, "exp": now + 3700},
        {"nbf": now - 3700, "exp": now + 10}, {"iss": None}, {"iss": "other"},
        {"client_id": "other"}, {"sub": "shop"}, {"request": "e30.e30."},
        {"request_uri": "https://shop.example/r"}, {"state": "a\0b"}, {"redirect_uri": [CALLBACK]},
        {"redirect_uri": "https://evil.example/"},
    ):  # fmt: skip
        assert_stays(await bring(browser, flow, signed(claims(flow, **changed)[0])))


async def test_claims_that_are_no_texts_are_read_as_json(world: World) -> None:
    audiences = ("https://a.example", "https://b.example")
    flow, browser = bank(world, first_party=True, audiences=audiences), await signed_in(world)
    said, verifier = claims(
        flow, max_age=1000, resource=list(audiences),
        claims={"userinfo": {"email": None}},
    )  # fmt: skip
    page = await bring(browser, flow, signed(said))
    answer = await flow.redeem(page.sent_to["code"], verifier, resource=audiences[1])
    assert claims_of(granted(answer)["access_token"])["aud"][0] == audiences[1]
    for changed in ({"max_age": "soon"}, {"max_age": 1.5}, {"claims": []}, {"prompt": ["none"]}):
        told(await bring(browser, flow, signed(claims(flow, **changed)[0])), "invalid_request")


async def test_a_claim_that_is_null_is_not_there(world: World) -> None:
    flow, browser = bank(world), await signed_in(world)
    absent = dict.fromkeys(("max_age", "prompt", "claims", "resource", "acr_values"))
    page = await bring(browser, flow, signed({**claims(flow)[0], **absent}))
    assert page.title.startswith("Allow")


async def test_its_time_is_judged_when_it_was_first_seen(world: World) -> None:
    world.user()
    flow, browser = bank(world), Browser(world.api)
    with clock.frozen() as hand:
        said, verifier = claims(flow)
        page = await bring(browser, flow, signed(said))
        hand.tick(3000)
        consent = await browser.sign_in(page)
        assert consent.title.startswith("Allow")
        assert_stays(await bring(browser, flow, signed(said)))
        page = await browser.submit(consent, "agree")
        assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200


async def test_a_client_that_has_to_sign_is_held_to_it(world: World) -> None:
    flow, browser = bank(world, require_signed_request_object=True), await signed_in(world)
    told((await flow.start(browser))[0], "invalid_request")
    assert (await bring(browser, flow, signed(claims(flow)[0]))).title.startswith("Allow")
    parameters, _ = flow.parameters()
    answer = await world.api.post("/par", data=parameters | flow.client.post)
    refused(answer, 400, "invalid_request")


async def test_a_push_may_be_signed_and_is_then_what_was_signed(world: World) -> None:
    flow, browser = bank(world, require_signed_request_object=True), await signed_in(world)
    said, verifier = claims(flow, state=None)
    form = flow.client.post | {"request": signed(said), "state": "mine", "scope": "openid email"}
    answer = await world.api.post("/par", data=form)
    assert answer.status_code == 201, answer.text
    assert "mine" not in str(rows(world)) and said["code_challenge"] in str(rows(world))
    age(world, 30)
    page = await browser.submit(await come(browser, flow, answer.json()["request_uri"]), "agree")
    assert "state" not in page.sent_to
    assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200
    for changed in ({"exp": None}, {"iss": "other"}, {"client_id": "other"}, {"aud": "x"}):
        text = signed(claims(flow, **changed)[0])
        answer = await world.api.post("/par", data=flow.client.post | {"request": text})
        refused(answer, 400, "invalid_request_object")
    text = signed(claims(flow, redirect_uri="https://evil.example/")[0])
    answer = await world.api.post("/par", data=flow.client.post | {"request": text})
    refused(answer, 400, "invalid_request")


async def test_who_pushes_may_prove_it_by_a_key_and_the_proof_is_no_part_of_the_push(
    world: World,
) -> None:
    signer = Signer()
    method = {"token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks}
    flow = bank(world, **method)
    parameters, _ = flow.parameters()
    proof = signer.sign(assertion("shop", ISSUER))
    form = parameters | {"client_assertion": proof, "client_assertion_type": ASSERTION_TYPE}
    assert (await world.api.post("/par", data=form)).status_code == 201
    assert proof not in str(rows(world)) and "client_assertion" not in str(rows(world))
    refused(await world.api.post("/par", data=form), 401, "invalid_client")
    # An assertion is no request, nor a request an assertion.
    page = await bring(Browser(world.api), flow, signer.sign(assertion("shop", ISSUER)))
    assert_stays(page)
    said, _ = claims(flow, sub="shop", jti="a", client_id=None)
    text = signer.sign(said, typ="oauth-authz-req+jwt")
    refused(await world.api.post("/par", data=form | {"client_assertion": text}), 401,
            "invalid_client")  # fmt: skip


async def test_one_may_lie_at_a_registered_address_and_nowhere_else(world: World) -> None:
    """CVE-2020-10770: what a request names is not asked for."""
    browser = await signed_in(world)
    async with elsewhere(None) as server:
        base = f"http://127.0.0.1:{server.port}"
        flow = bank(world, request_uris=[f"{base}/request#v1"])
        said, verifier = claims(flow, state=None)
        server.answers["/request"] = Answer(signed(said).encode())
        query = {"client_id": "shop", "request_uri": f"{base}/request#v1", "state": "mine"}
        for _ in range(2):
            page = await browser.get("/authorize", params=query)
            assert page.title.startswith("Allow")
        page = await browser.submit(page, "agree")
        assert "state" not in page.sent_to
        assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200
        assert len(server.asked) == 1
        server.answers["/other"] = server.answers["/request"]
        for other in (
            f"{base}/other",
            f"{base}/request",
            f"{base}/request#v2",
            "https://a.example",
        ):
            assert_stays(await browser.get("/authorize", params=query | {"request_uri": other}))
        assert len(server.asked) == 1


async def test_nobody_agrees_to_one_text_and_grants_another(world: World) -> None:
    """CVE-2026-7571."""
    browser = await signed_in(world)
    async with elsewhere(None) as server:
        uri = f"http://127.0.0.1:{server.port}/request"
        flow = bank(world, request_uris=[uri])
        modest, greedy = (signed(claims(flow, scope=s)[0]) for s in ("openid", "openid email"))
        soon = {"cache-control": "no-store"}
        server.answers["/request"] = Answer(modest.encode(), headers=soon)
        with clock.frozen() as hand:
            query = {"client_id": "shop", "request_uri": uri}
            page = await browser.get("/authorize", params=query)
            assert page.title.startswith("Allow") and "e-mail" not in page.text
            server.answers["/request"] = Answer(greedy.encode(), headers=soon)
            hand.tick(11)
            page = await browser.submit(page, "agree")
            assert page.title.startswith("Allow") and "e-mail" in page.text
            server.answers["/request"] = Answer(b"", 500)
            hand.tick(11)
            assert_stays(await browser.submit(page, "agree"))


async def test_a_client_without_keys_is_told_that_its_objects_are_not_read(world: World) -> None:
    flow = bank(world, jwks=None)
    text = signed(claims(flow)[0])
    page, _ = await flow.start(Browser(world.api), request=text)
    told(page, "request_not_supported")


async def test_request_and_request_uri_exclude_each_other(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    text = signed(claims(flow)[0])
    assert_stays(await bring(browser, flow, text, request_uri="https://shop.example/r"))
    assert_stays(await bring(browser, flow, text, request_uri="urn:ietf:params:oauth:x"))


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_metadata_says_what_is_read(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert document["request_parameter_supported"] is True
    assert document["request_uri_parameter_supported"] is True
    assert document["require_request_uri_registration"] is True
    assert "none" not in document["request_object_signing_alg_values_supported"]


@pytest.mark.parametrize("self_registered", [False, True])
async def test_addresses_of_a_client_that_nobody_vouches_for_are_asked_without_trust(
    world: World, monkeypatch: pytest.MonkeyPatch, self_registered: bool
) -> None:
    trusted: list[bool] = []

    async def get(self: Fetcher, url: str, **how: Any) -> Any:
        trusted.append(how["trusted"])
        raise FetchFailed("nothing there")

    monkeypatch.setattr(Fetcher, "get", get)
    at = "https://app.example.com"
    flow = bank(world, jwks=None, jwks_uri=f"{at}/jwks", request_uris=[f"{at}/request"])
    with world.change() as session:
        session.get_one(Client, flow.client.id).self_registered = self_registered
    browser = await signed_in(world)
    query = {"client_id": flow.client.id, "request_uri": f"{at}/request"}
    assert_stays(await browser.get("/authorize", params=query))
    assert_stays(await bring(browser, flow, signed(claims(flow)[0])))
    assert trusted == [not self_registered] * 2
