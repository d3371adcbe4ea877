"""Signed answers (JARM): one parameter, which says who answers whom and until when."""

from typing import Any
from urllib.parse import urlsplit

import jwt as pyjwt
import pytest

from identity.clock import now
from identity.directory import uris
from identity.tokens.answers import LIFE
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.pushing import come, pushed
from tests.world import World, bearer

MODES = ["jwt", "query.jwt"]


def shop(world: World, **settings: Any) -> Flow:
    world.user()
    return Flow(world, code_client(world, **settings))


async def opened(world: World, page: Page, algorithm: str = "RS256") -> dict[str, Any]:
    """The parameters inside, by another library and the published keys."""
    said = page.sent_to if page.status == 303 else page.form.fields
    assert set(said) == {"response"}
    keys = pyjwt.PyJWKSet.from_dict((await world.api.get("/.well-known/jwks.json")).json())
    header = pyjwt.get_unverified_header(said["response"])
    assert header["alg"] == algorithm and header["typ"] == "oauth-authz-resp+jwt"
    issuer = (await world.api.get("/.well-known/openid-configuration")).json()["issuer"]
    claims: dict[str, Any] = pyjwt.decode(
        said["response"], keys[header["kid"]], algorithms=[algorithm], audience="shop",
        issuer=issuer, options={"require": ["iss", "aud", "exp"]},
    )  # fmt: skip
    assert 0 < claims["exp"] - now() <= LIFE
    return claims


async def test_a_code_comes_in_response_alone(world: World) -> None:
    flow, browser = shop(world, first_party=True), Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    for mode in MODES:
        page, verifier = await flow.start(browser, response_mode=mode, state="a b&c")
        where = urlsplit(page.answer.headers["location"])
        assert where.geturl().startswith(f"{CALLBACK}?response=") and not where.fragment
        claims = await opened(world, page)
        assert set(claims) == {"code", "state", "iss", "aud", "exp"} and claims["state"] == "a b&c"
        assert (await flow.redeem(claims["code"], verifier)).status_code == 200


async def test_by_a_form_nothing_is_in_the_address(world: World) -> None:
    flow, browser = shop(world, first_party=True), Browser(world.api)
    page, verifier = await flow.start(browser, response_mode="form_post.jwt")
    page = await browser.sign_in(page)
    assert page.status == 200 and page.form.action == CALLBACK and page.form.method == "post"
    claims = await opened(world, page)
    assert (await flow.redeem(claims["code"], verifier)).status_code == 200


async def test_errors_are_signed_too(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    for mode in (*MODES, "form_post.jwt"):
        page, _ = await flow.start(browser, response_mode=mode, prompt="none", state="st")
        claims = await opened(world, page)
        assert (claims["error"], claims["state"]) == ("login_required", "st")
        assert "code" not in claims
    page, _ = await flow.start(browser, response_mode="jwt", response_type="token", state=None)
    claims = await opened(world, page)
    assert claims["error"] == "unsupported_response_type" and "state" not in claims


async def test_the_client_says_what_signs(world: World) -> None:
    flow = shop(world, authorization_signed_response_alg="ES256")
    page, _ = await flow.start(Browser(world.api), response_mode="jwt", prompt="none")
    assert (await opened(world, page, "ES256"))["error"] == "login_required"


async def test_a_push_may_ask_for_it(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    request_uri, _ = await pushed(flow, response_mode="jwt", prompt="none")
    page = await come(browser, flow, request_uri, response_mode="query")
    assert (await opened(world, page))["error"] == "login_required"


async def test_no_key_yet_is_a_page_and_never_an_unsigned_answer(world: World) -> None:
    flow = shop(world, authorization_signed_response_alg="PS256")
    page, _ = await flow.start(Browser(world.api), response_mode="jwt", prompt="none")
    assert page.status == 503 and "location" not in page.answer.headers
    assert page.answer.headers["content-type"].startswith("text/html")


async def test_an_answer_is_never_taken_for_a_token(world: World) -> None:
    flow, browser = shop(world, first_party=True), Browser(world.api)
    page = await browser.sign_in((await flow.start(browser, response_mode="jwt"))[0])
    answer = page.sent_to["response"]
    for call in (
        world.api.get("/userinfo", headers=bearer(answer)),
        world.api.get("/users/me", headers=bearer(answer)),
    ):
        assert (await call).status_code == 401
    assert not await world.active(answer)
    page, _ = await flow.start(browser, id_token_hint=answer)
    assert page.sent_to["error"] == "invalid_request"


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_metadata_says_how_answers_come_and_what_signs_them(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert {"jwt", "query.jwt", "form_post.jwt"} <= set(document["response_modes_supported"])
    assert document["authorization_signing_alg_values_supported"] == ["ES256", "RS256"]


def test_a_registered_query_brings_no_response() -> None:
    problem = uris.redirect_problem("https://shop.example/callback?response=mine")
    assert problem is not None and "response" in problem
