"""What the metadata says of itself, and that it is true."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata

from identity.app import create_app
from tests.browsing import Browser, Flow, code_client
from tests.conformance.lines import line
from tests.serving import running
from tests.world import KNOWN, World, bearer, claims_of

ADDRESS = "/.well-known/openid-configuration"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
"""Canonical tags of BCP 47, as far as we have any."""
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
"""Members of a JWK that are no business of the public's (RFC 7518 §6)."""
ON_SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
async def provider(make_settings: Callable[..., Any]) -> AsyncIterator[httpx.AsyncClient]:
    """One whose issuer is https and has a path."""
    app = create_app(make_settings(issuer="https://id.example/realm"))
    asking = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="https://id.example"
    )
    async with running(app), asking:
        yield asking


async def metadata(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.get(ADDRESS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


@ON_SQLITE
@line("Discovery", "200 and JSON; schema-valid; response and subject types, RS256 present")
async def test_the_metadata_is_what_other_libraries_call_valid(
    provider: httpx.AsyncClient,
) -> None:
    document = await metadata(provider)
    OpenIDProviderMetadata(document).validate()
    AuthorizationServerMetadata(document).validate()
    assert document["response_types_supported"] == ["code"]
    assert set(document["subject_types_supported"]) <= {"public", "pairwise"}
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    for name, value in document.items():
        if name.endswith("_supported") and not isinstance(value, bool):
            assert isinstance(value, list) and value, name
            assert all(isinstance(each, str) for each in value), name
            assert len(set(value)) == len(value), name


@ON_SQLITE
@line("Discovery", "`issuer` equals the prefix; https everywhere")
async def test_the_issuer_is_the_prefix_and_every_address_is_https(
    provider: httpx.AsyncClient,
) -> None:
    document = await metadata(provider)
    assert document["issuer"] == "https://id.example/realm"
    addresses = [
        value
        for name, value in document.items()
        if name.endswith(("_endpoint", "_uri", "_documentation"))
    ]
    assert len(addresses) >= 8
    assert all(each.startswith("https://id.example/realm/") for each in addresses)


@ON_SQLITE
@line("Discovery", "`scopes_supported` has openid; `code_challenge_methods_supported` is an array")
@line("Discovery", "`ui_locales_supported` are canonical BCP 47")
async def test_scopes_challenges_and_languages_are_lists(provider: httpx.AsyncClient) -> None:
    document = await metadata(provider)
    assert "openid" in document["scopes_supported"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["ui_locales_supported"]
    assert all(LANGUAGE.fullmatch(each) for each in document["ui_locales_supported"])


@line("Discovery", "`claims_supported` is true")
async def test_every_claim_that_is_named_can_be_had_and_no_other(world: World) -> None:
    world.user("ada", email="ada@example.com", name="Ada", known=KNOWN)
    flow = Flow(world, code_client(world, first_party=True))
    tokens = await flow.tokens(
        Browser(world.api), scope="openid profile email phone address groups"
    )
    headers = bearer(tokens["access_token"])
    said = (await world.api.get("/userinfo", headers=headers)).json()
    told = {*claims_of(tokens["id_token"]), *said}
    assert told == set((await metadata(world.api))["claims_supported"])


@line("Discovery", "`grant_types_supported` is true")
async def test_every_grant_that_is_named_is_there_and_no_other(world: World) -> None:
    client = world.client()
    named = (await metadata(world.api))["grant_types_supported"]
    for grant in (*named, "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer"):
        answer = await world.token(client, grant_type=grant)
        known = answer.json().get("error") != "unsupported_grant_type"
        assert known == (grant in named), grant


@line("Discovery", "JWKS: no private or symmetric material, distinct `kid`")
async def test_the_key_set_has_nothing_private_and_no_kid_twice(world: World) -> None:
    document = await metadata(world.api)
    keys = (await world.api.get(document["jwks_uri"])).json()["keys"]
    assert {"RSA", "EC"} <= {key["kty"] for key in keys} <= {"RSA", "EC", "OKP"}
    assert all(PRIVATE.isdisjoint(key) for key in keys)
    assert len({key["kid"] for key in keys}) == len(keys)
    assert all(key["use"] == "sig" for key in keys)


@ON_SQLITE
@line("Discovery", "Every address that is named is there")
async def test_every_address_that_is_named_is_there(world: World) -> None:
    document = await metadata(world.api)
    named = {name: at for name, at in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(named) >= 9
    for name, address in named.items():
        answers = [await world.api.request(method, address) for method in ("GET", "POST")]
        assert {answer.status_code for answer in answers} - {404, 405}, name
        assert all(answer.status_code < 500 for answer in answers), name


@ON_SQLITE
@line("Discovery", "`prompt_values_supported` and `response_modes_supported` are true")
async def test_prompts_and_response_modes_that_are_named_work_and_no_other(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    document = await metadata(world.api)
    assert {"none", "login"} <= set(document["prompt_values_supported"])
    for prompt in (*document["prompt_values_supported"], "whatever"):
        page, _ = await flow.start(browser, prompt=prompt)
        refused = "location" in page.answer.headers and page.sent_to["error"] == "invalid_request"
        assert refused == (prompt == "whatever"), prompt
    assert {"query", "form_post"} <= set(document["response_modes_supported"])
    for mode in (*document["response_modes_supported"], "whatever"):
        page, _ = await flow.start(browser, prompt="none", response_mode=mode)
        said = page.answer.headers.get("location", "") + page.answer.text
        assert ("invalid_request" in said) == (mode == "whatever"), mode
