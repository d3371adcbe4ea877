"""Signing out, asked for by an application or at our own page."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest

from identity import clock
from tests.browsing import Browser, Flow, Page, code_client
from tests.conformance.lines import line
from tests.oauth.authorize.test_requests import told
from tests.world import World, claims_of, granted

AFTER = "https://shop.example/bye"


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada")
    settings = {"post_logout_redirect_uris": [AFTER, f"{AFTER}?tenant=1"], "first_party": True}
    return Flow(world, code_client(world, **settings))


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


async def leave(browser: Browser, **asked: str) -> Page:
    return await browser.get(f"/logout?{urlencode(asked)}")


async def is_signed_in(flow: Flow, browser: Browser) -> bool:
    page, _ = await flow.start(browser, prompt="none")
    if "code" in page.sent_to:
        return True
    told(page, "login_required")
    return False


@line("Logout", "Hint and registered URI: a redirect with `state`, then `prompt=none` errors")
@line("Logout", "No `state` sent, none returned")
async def test_an_id_token_of_this_session_signs_out_and_leads_back(
    flow: Flow, browser: Browser
) -> None:
    tokens = await flow.tokens(browser)
    hint = tokens["id_token"]
    page = await leave(
        browser, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="a&b c", client_id="shop"
    )
    assert page.status == 303 and page.answer.headers["location"] == f"{AFTER}?state=a%26b+c"
    assert not await is_signed_in(flow, browser)
    assert not await flow.world.active(tokens["access_token"])
    (event,) = await flow.world.events("browser_session.ended")
    assert event.detail["reason"] == "signed out"
    # Again, with nobody there: nothing to end, and the way back is known.
    page = await leave(browser, id_token_hint=hint, post_logout_redirect_uri=f"{AFTER}?tenant=1")
    assert page.answer.headers["location"] == f"{AFTER}?tenant=1"  # no state sent, none returned


async def test_a_hint_may_have_expired(flow: Flow, browser: Browser) -> None:
    hint = (await flow.tokens(browser))["id_token"]
    with clock.frozen(clock.utcnow() + timedelta(hours=4)):
        page = await leave(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER)
        assert page.answer.headers["location"] == AFTER


@line("Logout", "No hint: only after confirmation, with `client_id` and a registered URI")
async def test_without_a_hint_somebody_is_asked(flow: Flow, browser: Browser) -> None:
    await flow.tokens(browser)
    page = await leave(browser, client_id="shop", post_logout_redirect_uri=AFTER, state="x")
    assert page.title.startswith("Sign out") and await is_signed_in(flow, browser)
    page = await browser.submit(page)
    assert page.answer.headers["location"] == f"{AFTER}?state=x"
    assert not await is_signed_in(flow, browser)


@line("Logout", "Nothing given: a page")
async def test_with_nothing_given_the_page_names_what_ended(flow: Flow, browser: Browser) -> None:
    await flow.tokens(browser)
    page = await browser.submit(await leave(browser))
    assert page.title.startswith("Signed out") and "The Shop" in page.text
    page = await leave(browser)
    assert page.title.startswith("Signed out") and "The Shop" not in page.text


async def test_somebody_elses_id_token_signs_nobody_out_unasked(
    flow: Flow, browser: Browser
) -> None:
    world = flow.world
    world.user("eve")
    other = Browser(world.api)
    page, verifier = await flow.start(other)
    page = await other.sign_in(page, "eve")
    eves = (await flow.redeem(page.sent_to["code"], verifier)).json()["id_token"]
    await flow.tokens(browser)
    page = await leave(browser, id_token_hint=eves, post_logout_redirect_uri=AFTER)
    assert page.title.startswith("Sign out")
    # Nor one of the same person's at another browser.
    third = Browser(world.api)
    there = (await flow.tokens(third))["id_token"]
    page = await leave(browser, id_token_hint=there)
    assert page.title.startswith("Sign out") and await is_signed_in(flow, browser)


@line("Logout", "Bad URI, added query, foreign or unsigned hint: never a redirect")
async def test_nobody_is_sent_where_the_client_has_not_registered(
    flow: Flow, browser: Browser
) -> None:
    world = flow.world
    code_client(world, "other", post_logout_redirect_uris=["https://other.example/"])
    tokens = await flow.tokens(browser)
    hint, (head, body, signature) = tokens["id_token"], tokens["id_token"].split(".")
    for asked in (
        {"id_token_hint": hint, "post_logout_redirect_uri": f"{AFTER}/"},
        {"id_token_hint": hint, "post_logout_redirect_uri": f"{AFTER}?x=1"},
        {"id_token_hint": hint, "post_logout_redirect_uri": "https://evil.example/"},
        {"id_token_hint": hint, "post_logout_redirect_uri": "https://other.example/"},
        {"id_token_hint": hint, "post_logout_redirect_uri": AFTER, "client_id": "other"},
        {"id_token_hint": tokens["access_token"], "post_logout_redirect_uri": AFTER},
        {"id_token_hint": f"{head}.{body}.", "post_logout_redirect_uri": AFTER},
        {"id_token_hint": f"{head}.{body}.{signature[:-4]}AAAA"},
        {"id_token_hint": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."},
        {"post_logout_redirect_uri": AFTER},
        {"client_id": "nobody", "post_logout_redirect_uri": AFTER},
    ):
        page = await leave(browser, **asked)
        assert page.status == 400 and "location" not in page.answer.headers, asked
    assert await is_signed_in(flow, browser)
    world.delete_client("shop")
    page = await leave(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert page.status == 400


async def test_a_post_from_elsewhere_becomes_a_get(flow: Flow, browser: Browser) -> None:
    hint = (await flow.tokens(browser))["id_token"]
    form = {"id_token_hint": hint, "post_logout_redirect_uri": AFTER}
    page = await browser.post("/logout", form, sec_fetch_site="cross-site")
    assert page.answer.headers["location"] == AFTER
    assert not await is_signed_in(flow, browser)


async def test_a_form_elsewhere_cannot_confirm(flow: Flow, browser: Browser) -> None:
    await flow.tokens(browser)
    for said in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}):
        page = await browser.post("/sign-out", {}, **said)
        assert page.status == 403
    assert await is_signed_in(flow, browser)


async def test_an_offline_session_outlives_signing_out(flow: Flow, browser: Browser) -> None:
    tokens = await flow.tokens(browser, scope="openid offline_access")
    assert "offline_access" in tokens["scope"].split()
    sid = claims_of(tokens["id_token"])["sid"]
    await browser.submit(await browser.get("/sign-out"))
    answer = await flow.world.refresh(tokens["refresh_token"], flow.client)
    assert claims_of(answer.json()["id_token"])["sid"] == sid


async def test_an_id_token_of_an_offline_session_proves_as_surely_who_asks(
    flow: Flow, browser: Browser
) -> None:
    """It says who signed in at this browser; that its session outlives that is no reason to ask."""
    asked = {"scope": "openid offline_access"}
    tokens = await flow.tokens(browser, **asked)
    elsewhere = await flow.tokens(Browser(flow.world.api), **asked)
    page = await leave(browser, id_token_hint=elsewhere["id_token"])
    assert page.title.startswith("Sign out") and await is_signed_in(flow, browser)
    hint = tokens["id_token"]
    page = await leave(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="x")
    assert page.status == 303 and page.answer.headers["location"] == f"{AFTER}?state=x"
    assert not await is_signed_in(flow, browser)
    granted(await flow.world.refresh(tokens["refresh_token"], flow.client))
