"""Each member of the metadata, compared with what the service does: what is named works, and what
is not named does not. A member that nobody compares fails here."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest

from identity.authentication.assertions import ASSERTION_TYPE
from identity.pages.languages import Languages
from identity.verifier.levels import LEVELS
from tests.acting import admin, pointers
from tests.browsing import Browser, Flow, code_client, verifier_and_challenge
from tests.elsewhere import Answer, elsewhere
from tests.holding import new_key
from tests.oauth.authorize.test_request_objects import claims as request_claims
from tests.oauth.authorize.test_requests import told
from tests.oauth.test_backchannel_logout import sign_out
from tests.oauth.test_backchannel_logout import told as told_by_back_channel
from tests.receiving import receiving
from tests.second_factors import with_app
from tests.signing import Signer, said
from tests.world import PASSWORD, Caller, World, bearer, claims_of, granted, refused

DOCUMENTS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA")
METHODS = (
    "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
    "workload_identity", "none",
)  # fmt: skip
ON = {
    "registration": "open",
    "client_metadata_documents": True,
    "first_party_challenge": True,
}
DETAIL_TYPES = {
    "payment": {"description": "Make a payment", "schema": {"additionalProperties": False}}
}

Document = dict[str, Any]
Check = Callable[[World, Document], Awaitable[None]]
CHECKS: dict[str, Check] = {}
LATER = {"tls_client_certificate_bound_access_tokens", "mtls_endpoint_aliases"}
"""Compared where certificates are."""

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


def member(*names: str) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return add


@pytest.fixture
def on() -> bool:
    """Whether what can be turned on is."""
    return True


@pytest.fixture
def settings(make_settings: Callable[..., Any], on: bool, tmp_path: Path) -> Any:
    if not on:
        return make_settings()
    types = tmp_path / "details.json"
    types.write_text(json.dumps(DETAIL_TYPES))
    return make_settings(authorization_details=types, **ON)


async def metadata(world: World, name: str = DOCUMENTS[0]) -> Document:
    found: Document = (await world.api.get(name)).json()
    return found


def shop(world: World, client_id: str = "shop", **settings: Any) -> Flow:
    """A client of our own: nobody is asked whether they agree."""
    return Flow(world, code_client(world, client_id, **{"first_party": True, **settings}))


async def signed_in(world: World) -> Browser:
    world.user("ada", email="ada@example.com", name="Ada")
    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    return browser


def alg_of(token: str) -> str:
    found: str = pyjwt.get_unverified_header(token)["alg"]
    return found


# --- Both documents, whole -------------------------------------------------------------------


@pytest.mark.parametrize("on", [True, False])
async def test_both_documents_are_one_and_every_member_is_compared(world: World, on: bool) -> None:
    first, second = [await metadata(world, name) for name in DOCUMENTS]
    assert first == second
    assert first.keys() - LATER <= CHECKS.keys()
    assert not on or CHECKS.keys() <= first.keys()


# --- Addresses -------------------------------------------------------------------------------


@member("issuer", "authorization_response_iss_parameter_supported")
async def _(world: World, document: Document) -> None:
    flow, browser = shop(world), await signed_in(world)
    page, verifier = await flow.start(browser)
    assert page.sent_to["iss"] == document["issuer"]
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert claims_of(tokens["id_token"])["iss"] == document["issuer"]
    refusal, _ = await flow.start(browser, response_type="token")
    assert refusal.sent_to["iss"] == document["issuer"]
    assert document["authorization_response_iss_parameter_supported"] is True


@member("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
async def _(world: World, document: Document) -> None:
    flow, browser = shop(world), await signed_in(world)
    parameters, verifier = flow.parameters()
    page = await browser.get(document["authorization_endpoint"], params=parameters)
    form = {
        "grant_type": "authorization_code", "code": page.sent_to["code"],
        "code_verifier": verifier, "redirect_uri": flow.redirect_uri, **flow.client.post,
    }  # fmt: skip
    tokens = granted(await world.api.post(document["token_endpoint"], data=form))
    keys = pyjwt.PyJWKSet.from_dict((await world.api.get(document["jwks_uri"])).json())
    kid = pyjwt.get_unverified_header(tokens["id_token"])["kid"]
    key = next(each for each in keys.keys if each.key_id == kid)
    claims = pyjwt.decode(
        tokens["id_token"], key, audience="shop", issuer=document["issuer"],
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )  # fmt: skip
    about = await world.api.get(
        document["userinfo_endpoint"], headers=bearer(tokens["access_token"])
    )
    assert about.json()["sub"] == claims["sub"]


@member(
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
    "service_documentation",
    "authorization_challenge_endpoint",
)
async def _(world: World, document: Document) -> None:
    flow = shop(world)
    parameters, _ = flow.parameters()
    pushed = await world.api.post(
        document["pushed_authorization_request_endpoint"], data=parameters | flow.client.post
    )
    assert pushed.status_code == 201 and "request_uri" in pushed.json()
    device = "urn:ietf:params:oauth:grant-type:device_code"
    tv = world.client("tv", public=True, grants=[device])
    asked = await world.api.post(
        document["device_authorization_endpoint"], data={**tv.post, "scope": "openid"}
    )
    assert granted(asked).keys() >= {"device_code", "user_code", "verification_uri"}
    assert (await world.api.get(document["service_documentation"])).status_code == 200
    world.user("ada")
    app = shop(world, "app", public=True)
    form = {"client_id": "app", "username": "ada", "password": PASSWORD, "scope": "openid"}
    challenge = {"code_challenge": verifier_and_challenge()[1], "code_challenge_method": "S256"}
    answer = await world.api.post(
        document["authorization_challenge_endpoint"], data=form | challenge
    )
    assert granted(answer).keys() == {"authorization_code"} and app.client.id == "app"


@member("introspection_endpoint", "revocation_endpoint", "revocations_endpoint",
        "status_list_aggregation_endpoint")  # fmt: skip
async def _(world: World, document: Document) -> None:
    client = world.client(scopes=["introspect", "revocations"])
    token = (await world.act(client, scope="introspect"))["access_token"]
    asked = {"data": {"token": token}, "headers": client.basic}
    assert (await world.api.post(document["introspection_endpoint"], **asked)).json()["active"]
    listed = (await world.api.get(document["status_list_aggregation_endpoint"])).json()
    assert claims_of(token)["status"]["status_list"]["uri"] in listed["status_lists"]
    answer = await world.api.post(document["revocation_endpoint"], **asked)
    assert answer.status_code == 200
    again = await world.api.post(document["introspection_endpoint"], **asked)
    assert again.json() == {"active": False}
    feed = await world.api.get(document["revocations_endpoint"])
    assert feed.status_code == 401  # there, and for those whom it is for


@member("registration_endpoint")
async def _(world: World, document: Document) -> None:
    asked = {"redirect_uris": ["https://notes.example/cb"]}
    answer = await world.api.post(document["registration_endpoint"], json=asked)
    assert answer.status_code == 201


@pytest.mark.parametrize("on", [False])
async def test_what_is_off_is_not_named_and_not_there(world: World, on: bool) -> None:
    document = await metadata(world)
    assert document["client_id_metadata_document_supported"] is False
    for name, path in (
        ("registration_endpoint", "/register"),
        ("authorization_challenge_endpoint", "/authorize-challenge"),
    ):
        assert name not in document
        answer = await world.api.post(path, json={})
        assert answer.status_code in (400, 404), path
        assert "client_id" not in answer.json() and "authorization_code" not in answer.json()
    assert "authorization_details_types_supported" not in document


@member("client_id_metadata_document_supported")
async def _(world: World, document: Document) -> None:
    from tests.described import CALLBACK, site_of_a_client

    assert document["client_id_metadata_document_supported"] is True
    with site_of_a_client() as site:
        page, _ = await Flow(world, Caller(site.client_id, None), CALLBACK).start(
            Browser(world.api)
        )
    assert page.title.startswith("Sign in"), page.answer.text


# --- Signing out -----------------------------------------------------------------------------


@member("end_session_endpoint", "backchannel_logout_supported",
        "backchannel_logout_session_supported")  # fmt: skip
async def _(world: World, document: Document) -> None:
    assert document["backchannel_logout_supported"] is True
    assert document["backchannel_logout_session_supported"] is True
    browser = await signed_in(world)
    with receiving() as receiver:
        flow = shop(world, backchannel_logout_uri=receiver.uri)
        tokens = await flow.tokens(browser)
        page = await browser.get(
            document["end_session_endpoint"], params={"id_token_hint": tokens["id_token"]}
        )
        assert page.status == 200
        if page.forms:
            await sign_out(browser)
        (token,) = await told_by_back_channel(receiver)
    assert claims_of(token)["sid"] == claims_of(tokens["id_token"])["sid"]


# --- What may be asked for -------------------------------------------------------------------


@member("response_types_supported", "response_modes_supported", "prompt_values_supported",
        "require_pushed_authorization_requests", "require_signed_request_object")  # fmt: skip
async def _(world: World, document: Document) -> None:
    flow, browser = shop(world), await signed_in(world)
    for kind in ("code", "token", "id_token", "code id_token", "code token", "none"):
        page, _ = await flow.start(browser, response_type=kind)
        assert ("code" in page.sent_to) == (kind in document["response_types_supported"]), kind
    modes = ("query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt")
    for mode in modes:
        page, _ = await flow.start(browser, response_mode=mode)
        said = page.answer.headers.get("location", "") + page.answer.text
        works = "invalid_request" not in said
        assert works == (mode in document["response_modes_supported"]), mode
    assert document["require_pushed_authorization_requests"] is False  # of whoever is not held to
    assert document["require_signed_request_object"] is False
    pages = {"login": "Sign in", "select_account": "Choose", "consent": "Allow"}
    for prompt in document["prompt_values_supported"]:
        page, _ = await flow.start(browser, prompt=prompt)
        if prompt == "none":
            assert page.sent_to["code"]
        elif prompt in pages:
            assert page.title.startswith(pages[prompt]), page.title
        else:
            assert page.status == 200, prompt
    assert set(pages) | {"none"} <= set(document["prompt_values_supported"])


async def test_whoever_asks_for_an_account_to_be_made_comes_to_sign_in_where_none_can_be(
    world: World,
) -> None:
    """`prompt=create` (OpenID Connect Prompt Create §4) is named only where it is there."""
    document = await metadata(world)
    flow, browser = shop(world), await signed_in(world)
    page, _ = await flow.start(browser, prompt="create")
    if "create" not in document["prompt_values_supported"]:
        assert page.title.startswith("Sign in")
        page = await browser.sign_in(page)
        assert page.sent_to["code"]
    refusal, _ = await flow.start(browser, prompt="whatever")
    told(refusal, "invalid_request")


@member("code_challenge_methods_supported")
async def _(world: World, document: Document) -> None:
    flow, browser = shop(world), await signed_in(world)
    for method in ("S256", "plain"):
        page, _ = await flow.start(browser, code_challenge_method=method)
        named = method in document["code_challenge_methods_supported"]
        assert ("code" in page.sent_to) == named, method


@member("acr_values_supported")
async def _(world: World, document: Document) -> None:
    flow, named = shop(world), document["acr_values_supported"]
    _, app = with_app(world, "eve")
    assert "aal1" in named
    for level in LEVELS:
        browser = Browser(world.api)
        essential = {"id_token": {"acr": {"essential": True, "value": level}}}
        page, verifier = await flow.start(browser, claims=json.dumps(essential))
        page = await browser.sign_in(page, "eve")
        page = await browser.submit(page, code=app.recovery_codes.pop())
        if level not in named:
            told(page, "unmet_authentication_requirements")
        elif level in ("aal1", "aal2"):  # a higher one takes what nobody has set up here
            tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
            assert claims_of(tokens["id_token"])["acr"] >= level


@member("ui_locales_supported")
async def _(world: World, document: Document) -> None:
    spoken = Languages.of(production=True).known
    assert document["ui_locales_supported"] == [language.tag for language in spoken]
    for locale in document["ui_locales_supported"]:
        page = await world.api.get("/sign-in", headers={"accept-language": locale})
        found = re.search(r'<html lang="([^"]*)"', page.text)
        assert found and found[1] == locale


@member("scopes_supported", "claims_supported", "claim_types_supported",
        "claims_parameter_supported")  # fmt: skip
async def _(world: World, document: Document) -> None:
    from tests.world import KNOWN

    world.user("ada", email="ada@example.com", name="Ada", known=KNOWN)
    flow, browser = shop(world), Browser(world.api)
    everything = " ".join(document["scopes_supported"])
    tokens = await flow.tokens(browser, scope=f"{everything} whatever")
    assert set(tokens["scope"].split()) == set(document["scopes_supported"])
    headers = bearer(tokens["access_token"])
    about = (await world.api.get("/userinfo", headers=headers)).json()
    assert {*claims_of(tokens["id_token"]), *about} == set(document["claims_supported"])
    assert document["claim_types_supported"] == ["normal"]
    assert not {"_claim_names", "_claim_sources"} & about.keys()
    assert document["claims_parameter_supported"] is True
    asked = json.dumps({"id_token": {"email": None}})
    tokens = await flow.tokens(browser, scope="openid", claims=asked)
    assert claims_of(tokens["id_token"])["email"] == "ada@example.com"


@member("authorization_details_types_supported")
async def _(world: World, document: Document) -> None:
    browser = await signed_in(world)
    flow = shop(world, authorization_details_types=["payment"], first_party=False)
    for kind in (*document["authorization_details_types_supported"], "whatever"):
        page, _ = await flow.start(browser, authorization_details=json.dumps([{"type": kind}]))
        if kind == "whatever":
            told(page, "invalid_authorization_details")
        else:
            assert page.title.startswith("Allow"), page.title


@member("subject_types_supported")
async def _(world: World, document: Document) -> None:
    browser, subjects = await signed_in(world), {}
    for kind in document["subject_types_supported"]:
        tokens = await shop(world, kind, subject_type=kind).tokens(browser)
        subjects[kind] = claims_of(tokens["id_token"])["sub"]
    assert subjects.keys() == {"public", "pairwise"}
    assert subjects["public"] != subjects["pairwise"]


# --- Request objects -------------------------------------------------------------------------


@member("request_parameter_supported", "request_object_signing_alg_values_supported")
async def _(world: World, document: Document) -> None:
    assert document["request_parameter_supported"] is True
    browser = await signed_in(world)
    for alg in ALGORITHMS:
        signer = Signer(alg)
        flow = shop(world, f"by-{alg}".lower(), jwks=signer.jwks)
        text = signer.sign(request_claims(flow)[0])
        page = await browser.get(
            "/authorize", params={"client_id": flow.client.id, "request": text}
        )
        named = alg in document["request_object_signing_alg_values_supported"]
        assert ("location" in page.answer.headers and "code" in page.sent_to) == named, alg


@member("request_uri_parameter_supported", "require_request_uri_registration")
async def _(world: World, document: Document) -> None:
    assert document["request_uri_parameter_supported"] is True
    assert document["require_request_uri_registration"] is True
    browser, signer = await signed_in(world), Signer()
    async with elsewhere(None) as server:
        uri = f"http://127.0.0.1:{server.port}/request"
        flow = shop(world, jwks=signer.jwks, request_uris=[uri])
        text = signer.sign(request_claims(flow)[0]).encode()
        server.answers = {"/request": Answer(text), "/other": Answer(text)}
        query = {"client_id": "shop", "request_uri": uri}
        assert (await browser.get("/authorize", params=query)).sent_to["code"]
        query["request_uri"] = uri.replace("request", "other")
        page = await browser.get("/authorize", params=query)
        assert page.status == 400 and "location" not in page.answer.headers
        assert [asked.path for asked in server.asked] == ["/request"]


# --- Algorithms of what clients are told -----------------------------------------------------


async def _chosen(world: World, setting: str, named: list[str]) -> AsyncIterator[str]:
    """Each algorithm that is named; the others no client may have."""
    boss = await admin(world)
    for alg in ALGORITHMS:
        answer = await boss("PATCH", "/clients/shop", {setting: alg})
        if alg in named:
            assert answer.status_code == 200, answer.text
            yield alg
        else:
            assert pointers(answer) == {f"/{setting}"}


@member("id_token_signing_alg_values_supported", "authorization_signing_alg_values_supported",
        "userinfo_signing_alg_values_supported")  # fmt: skip
async def _(world: World, document: Document) -> None:
    flow, browser = shop(world), await signed_in(world)
    named = document["id_token_signing_alg_values_supported"]
    assert "RS256" in named
    async for alg in _chosen(world, "id_token_signed_response_alg", named):
        assert alg_of((await flow.tokens(browser))["id_token"]) == alg
    named = document["authorization_signing_alg_values_supported"]
    async for alg in _chosen(world, "authorization_signed_response_alg", named):
        page, _ = await flow.start(browser, response_mode="jwt")
        assert alg_of(page.sent_to["response"]) == alg
    named = document["userinfo_signing_alg_values_supported"]
    token = (await flow.tokens(browser))["access_token"]
    async for alg in _chosen(world, "userinfo_signed_response_alg", named):
        answer = await world.api.get("/userinfo", headers=bearer(token))
        assert alg_of(answer.text) == alg


@member("introspection_signing_alg_values_supported")
async def _(world: World, document: Document) -> None:
    client = world.client(scopes=["introspect"])
    answer = await world.api.post(
        "/introspect", data={"token": "x"},
        headers={**client.basic, "accept": "application/token-introspection+jwt"},
    )  # fmt: skip
    assert [alg_of(answer.text)] == document["introspection_signing_alg_values_supported"]


# --- Grants, and who asks --------------------------------------------------------------------


@member("grant_types_supported")
async def _(world: World, document: Document) -> None:
    client = world.client()
    for grant in (*document["grant_types_supported"], "implicit", "authorization_code "):
        answer = await world.token(client, grant_type=grant)
        known = answer.json().get("error") != "unsupported_grant_type"
        assert known == (grant in document["grant_types_supported"]), grant


def _by(method: str, world: World) -> dict[str, Any]:
    """What a request has that proves a client registered for this method."""
    issuer, signer = world.services.settings.issuer, Signer("ES256", method)
    name = method.replace("_", "-")
    settings: dict[str, Any] = {"token_endpoint_auth_method": method}
    caller = world.client(name, public=method == "none", scopes=["introspect"])
    if method == "private_key_jwt":
        settings["jwks"] = signer.jwks
    if method == "workload_identity":
        elsewhere_ = "https://cluster.example"
        settings["workloads"] = {elsewhere_: "program"}
        from identity.directory.issuers import editing

        with world.change() as session:
            editing.create(
                session, issuer=elsewhere_, chosen={"jwks": signer.jwks}, own_issuer=issuer,
                held=None,
            )  # fmt: skip
    world.change_client(name, settings=settings)
    asserted = {"client_id": name, "client_assertion_type": ASSERTION_TYPE}
    if method == "client_secret_basic":
        return {"headers": caller.basic}
    if method == "private_key_jwt":
        return {"data": asserted | {"client_assertion": signer.sign(said(name, issuer))}}
    if method == "workload_identity":
        claims = said(name, issuer, iss="https://cluster.example", sub="program")
        return {"data": asserted | {"client_assertion": signer.sign(claims)}}
    return {"data": caller.post}


async def _admits(world: World, path: str, method: str) -> bool:
    """Whether a client that is registered for this method gets in by it."""
    proof = _by(method, world)
    grant = "password" if method == "none" else "client_credentials"
    form = {"token": "x", "grant_type": grant, "username": "ada", "password": PASSWORD}
    answer = await world.api.post(
        path, data=form | proof.get("data", {}), headers=proof.get("headers")
    )
    return answer.status_code == 200


async def _methods(world: World, path: str, named: list[str]) -> None:
    world.user("ada")
    for method in METHODS:
        if method == "client_secret_jwt":  # nobody can be registered for it
            boss = await admin(world)
            asked = {"name": "x", "token_endpoint_auth_method": method}
            assert "/token_endpoint_auth_method" in pointers(await boss("POST", "/clients", asked))
            assert method not in named
        else:
            assert await _admits(world, path, method) == (method in named), method


@member("token_endpoint_auth_methods_supported")
async def _(world: World, document: Document) -> None:
    await _methods(world, "/token", document["token_endpoint_auth_methods_supported"])


@member("revocation_endpoint_auth_methods_supported")
async def _(world: World, document: Document) -> None:
    await _methods(world, "/revoke", document["revocation_endpoint_auth_methods_supported"])


@member("introspection_endpoint_auth_methods_supported")
async def _(world: World, document: Document) -> None:
    named = document["introspection_endpoint_auth_methods_supported"]
    await _methods(world, "/introspect", [each for each in named if each[0].islower()])
    client = world.client(scopes=["introspect"])
    assert {"Bearer", "DPoP"} <= set(named)  # RFC 8414 §2: names of token types
    token = (await world.act(client, scope="introspect"))["access_token"]
    answer = await world.api.post("/introspect", data={"token": token}, headers=bearer(token))
    assert answer.json()["active"] is True
    key = new_key()
    address = f"{document['issuer']}/token"
    form = {"grant_type": "client_credentials", "scope": "introspect", **client.post}
    answer = await world.api.post("/token", data=form, headers={"dpop": key.proof("POST", address)})
    bound = granted(answer)["access_token"]
    headers = key.headers("POST", document["introspection_endpoint"], bound)
    answer = await world.api.post("/introspect", data={"token": bound}, headers=headers)
    assert answer.json()["active"] is True


@member("token_endpoint_auth_signing_alg_values_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint_auth_signing_alg_values_supported")  # fmt: skip
async def _(world: World, document: Document) -> None:
    issuer = document["issuer"]
    for alg in ALGORITHMS:
        signer, name = Signer(alg), f"by-{alg}".lower()
        world.client(name, scopes=["introspect"])
        method = {"token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks}
        world.change_client(name, settings=method)
        for endpoint, path in (
            ("token", "/token"), ("revocation", "/revoke"), ("introspection", "/introspect"),
        ):  # fmt: skip
            form = {
                "grant_type": "client_credentials", "token": "x",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": signer.sign(said(name, issuer)),
            }  # fmt: skip
            answer = await world.api.post(path, data=form)
            named = alg in document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
            assert (answer.status_code == 200) == named, (endpoint, alg)


@member("dpop_signing_alg_values_supported")
async def _(world: World, document: Document) -> None:
    client = world.client()
    for alg in ALGORITHMS:
        proof = new_key(alg).proof("POST", document["token_endpoint"])
        answer = await world.api.post(
            "/token", data={"grant_type": "client_credentials", **client.post},
            headers={"dpop": proof},
        )  # fmt: skip
        if alg in document["dpop_signing_alg_values_supported"]:
            assert granted(answer)["token_type"] == "DPoP"
        else:
            refused(answer, 400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "check",
    sorted(set(CHECKS.values()), key=lambda c: c.__code__.co_firstlineno),
    ids=lambda c: next(n for n, each in CHECKS.items() if each is c),
)
async def test_a_member_is_true(world: World, check: Check) -> None:
    await check(world, await metadata(world))
