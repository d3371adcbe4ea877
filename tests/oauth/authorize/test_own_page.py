"""Signing in at `/docs`: the built-in client's codes go to a page of this service, and nowhere else
(decision 73)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.directory.clients.table import FIRST_PARTY
from tests.acting import admin
from tests.browsing import Browser, Flow, Page, verifier_and_challenge
from tests.oauth.authorize.test_return_addresses import assert_stays
from tests.serving import running
from tests.transport import as_served
from tests.world import Caller, World, bearer, claims_of, granted, refused

ISSUER = "http://127.0.0.1:8000"
OWN = f"{ISSUER}/docs/oauth2-redirect"
FIRST = Caller(FIRST_PARTY, None)


def at_docs(world: World, redirect_uri: str = OWN) -> Flow:
    return Flow(world, FIRST, redirect_uri=redirect_uri)


def brought(page: Page) -> dict[str, str]:
    """What the browser brings to our page."""
    assert page.status == 200 and str(page.answer.url.copy_with(query=None)) == OWN
    return dict(page.answer.url.params)


async def test_somebody_signs_in_at_our_page_and_is_asked_nothing_more(world: World) -> None:
    user, flow, browser = world.user(), at_docs(world), Browser(world.api)
    page, verifier = await flow.start(browser, scope="*")
    page = await browser.sign_in(page)
    tokens = granted(await flow.redeem(brought(page)["code"], verifier))
    claims = claims_of(tokens["access_token"])
    assert (claims["sub"], claims["client_id"]) == (user.id, FIRST_PARTY)
    me = await world.api.get("/users/me", headers=bearer(tokens["access_token"]))
    assert me.json()["username"] == user.username


async def test_its_codes_go_to_that_page_character_by_character(world: World) -> None:
    """On a loopback address, too: there is no program of another port that is ours."""
    flow, browser = at_docs(world), Browser(world.api)
    for asked in (
        None, "http://127.0.0.1:9000/docs/oauth2-redirect", "http://127.0.0.1/docs/oauth2-redirect",
        "http://[::1]:8000/docs/oauth2-redirect", "http://localhost:8000/docs/oauth2-redirect",
        f"{OWN}/", f"{OWN}?x=1", f"{ISSUER}/docs", f"{ISSUER}//docs/oauth2-redirect",
        "https://evil.example/docs/oauth2-redirect", "/docs/oauth2-redirect",
    ):  # fmt: skip
        assert_stays((await flow.start(browser, redirect_uri=asked))[0])


async def test_a_code_that_somebody_else_has_asked_for_is_worth_nothing_here(world: World) -> None:
    """A link of a stranger's, with their challenge and no question: the code goes to our page,
    which cannot redeem it, and without a challenge there is none."""
    world.user()
    flow, browser = at_docs(world), Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    page, _ = await flow.start(browser, prompt="none")
    code = brought(page)["code"]
    for verifier in (verifier_and_challenge()[0], None):
        refused(await flow.redeem(code, verifier), 400, "invalid_grant")
    page, _ = await flow.start(browser, code_challenge=None, code_challenge_method=None)
    assert brought(page)["error"] == "invalid_request"


async def test_no_other_client_may_have_its_codes_sent_there(world: World) -> None:
    world.user()
    world.client("shop", public=True, grants=("authorization_code",), scopes=["*"])
    flow = Flow(world, Caller("shop", None), redirect_uri=OWN)
    assert_stays((await flow.start(Browser(world.api)))[0])


async def test_an_administrator_takes_the_grant_away_and_the_page_says_so(world: World) -> None:
    boss = await admin(world)
    patch = {"grant_types": ["password", "refresh_token"]}
    await boss.done("PATCH", f"/clients/{FIRST_PARTY}", patch)
    flow, browser = at_docs(world), Browser(world.api)
    assert brought((await flow.start(browser))[0])["error"] == "unauthorized_client"
    await boss.done("PATCH", f"/clients/{FIRST_PARTY}", {"status": "disabled"})
    assert_stays((await flow.start(browser))[0])


class TestSwitchedOff:
    @pytest.fixture
    async def app(self, make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
        app = create_app(make_settings(default_client=False))
        async with running(app):
            yield app

    async def test_nobody_gets_a_code_for_it(self, world: World) -> None:
        assert_stays((await at_docs(world).start(Browser(world.api)))[0])
        assert "clientId" not in (await world.api.get("/docs")).text


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_page_lies_where_the_issuer_does(make_settings: Callable[..., Any]) -> None:
    """An issuer that changes, or has a path, takes the page with it."""
    for issuer in ("https://id.example", "https://id.example/tenant", "http://10.1.2.3:8000"):
        app = create_app(make_settings(issuer=issuer))
        transport = httpx.ASGITransport(as_served(app))
        async with running(app), httpx.AsyncClient(transport=transport, base_url=issuer) as api:
            asked = {
                "response_type": "code", "client_id": FIRST_PARTY, "scope": "openid",
                "code_challenge": verifier_and_challenge()[1], "code_challenge_method": "S256",
            }  # fmt: skip
            for uri, status in ((f"{issuer}/docs/oauth2-redirect", 303), (OWN, 400)):
                said = asked | {"redirect_uri": uri}
                answer = await api.get(f"{issuer}/authorize".replace("/tenant", ""), params=said)
                assert answer.status_code == status, answer.text
            page = (await api.get(httpx.URL(issuer).copy_with(path="/docs"))).text
            base = httpx.URL(issuer).path.rstrip("/")
            assert f"window.location.origin + '{base}/docs/oauth2-redirect'" in page
            document = (await api.get(httpx.URL(issuer).copy_with(path="/openapi.json"))).json()
            flows = document["components"]["securitySchemes"]["OAuth2"]["flows"]
            assert flows["authorizationCode"]["authorizationUrl"] == f"{base}/authorize"
            assert flows["password"]["tokenUrl"] == f"{base}/token"
