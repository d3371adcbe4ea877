"""Codes and the state around them: stolen, turned to another client, stripped of their challenge,
cut short, put in another's place, or kept while what they stood for went away."""

import asyncio
from typing import Any

import pytest

from tests import acting
from tests.attacks.rules import without
from tests.browsing import CALLBACK, Browser, Flow, code_client, verifier_and_challenge
from tests.oauth.authorize.test_requests import told
from tests.world import PASSWORD, World, bearer, claims_of, granted, refused

GRANT = "identity.oauth.grants.authorization_code"
REQUEST = "identity.oauth.authorize.request"
REFUSED = (400, "invalid_grant")
SECOND = "https://shop.example/second"


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada", email="ada@example.com")
    return Flow(world, code_client(world, first_party=True, redirect_uris=[CALLBACK, SECOND]))


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


@without(f"{GRANT}:_check_bound", "if code.client_id != client.id:", "if False:")
async def test_a_code_is_worth_nothing_to_another_client(flow: Flow, browser: Browser) -> None:
    """CVE-2026-16089, GHSA-xqxv-4jc2-x56x: retargeted to a client of the thief's own, which has
    the same redirect URI and knows the verifier."""
    world = flow.world
    for public in (False, True):
        thief = Flow(world, code_client(world, f"thief-{public}", public=public))
        code, verifier = await flow.signed_in(browser)
        refused(await thief.redeem(code, verifier), *REFUSED)
        # By the victim's id and the thief's secret, too.
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier,
                "redirect_uri": CALLBACK, "client_id": flow.client.id,
                "client_secret": thief.client.secret or "x"}  # fmt: skip
        refused(await world.api.post("/token", data=form), 401, "invalid_client")
        # It is still good for whom it was made.
        assert (await flow.redeem(code, verifier)).status_code == 200


@without(
    f"{GRANT}:_check_bound",
    'raise InvalidGrant("redirect_uri is not the authorization request\'s")',
    "pass",
)
async def test_a_code_is_worth_nothing_with_another_of_the_clients_addresses(
    flow: Flow, browser: Browser
) -> None:
    code, verifier = await flow.signed_in(browser)
    for uri in (SECOND, "", f"{CALLBACK}/", CALLBACK.upper()):
        refused(await flow.redeem(code, verifier, redirect_uri=uri), *REFUSED)


@without(f"{REQUEST}:code_challenge", 'if method != "S256":', "if False:")
@without(
    f"{REQUEST}:read",
    'needed=back.client.settings.pkce == "required" or not back.client.confidential',
    "needed=False",
)
async def test_no_request_is_talked_out_of_pkce(world: World, browser: Browser) -> None:
    world.user()
    _, challenge = verifier_and_challenge()
    await browser.sign_in(await browser.get("/sign-in"))
    for client in (
        code_client(world, "shop", first_party=True),
        code_client(world, "app", public=True, first_party=True),
        code_client(world, "lax-app", public=True, first_party=True, pkce="optional"),
    ):
        for said in (
            {"code_challenge": None, "code_challenge_method": None},
            {"code_challenge": "", "code_challenge_method": ""},
            {"code_challenge": challenge, "code_challenge_method": "plain"},
            {"code_challenge": challenge, "code_challenge_method": "s256"},
            {"code_challenge": challenge, "code_challenge_method": None},
        ):
            page, _ = await Flow(world, client).start(browser, **said)
            told(page, "invalid_request")


@without(f"{GRANT}:_check_bound", 'raise InvalidGrant("code_verifier is missing")', "return")
@without(
    f"{GRANT}:_check_bound",
    'raise InvalidGrant("code_verifier is not the one of the code_challenge")',
    "pass",
)
async def test_the_token_endpoint_does_not_skip_pkce(flow: Flow, browser: Browser) -> None:
    """CVE-2023-48228."""
    code, _ = await flow.signed_in(browser)
    other, challenge = verifier_and_challenge()
    for verifier in (None, "", other, challenge, "x" * 43, " " * 43):
        refused(await flow.redeem(code, verifier), *REFUSED)


@without(f"{GRANT}:_check_bound", "if verifier is not None:", "if False:")
async def test_a_challenge_that_was_taken_out_on_the_way_is_missed(
    world: World, browser: Browser
) -> None:
    """RFC 9700 §4.8.2: the client, which does use PKCE, redeems what it did not begin."""
    world.user()
    client = code_client(world, pkce="optional", first_party=True)
    flow = Flow(world, client)
    stripped: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
    code, verifier = await flow.signed_in(browser, **stripped)
    refused(await flow.redeem(code, verifier), *REFUSED)


@without(
    f"{GRANT}:AuthorizationCode._replayed",
    'lifecycle.end(session, sid, "authorization code replayed")',
    "pass",
)
async def test_a_code_used_again_ends_what_was_begun_with_it(flow: Flow, browser: Browser) -> None:
    code, verifier = await flow.signed_in(browser)
    tokens = granted(await flow.redeem(code, verifier))
    refused(await flow.redeem(code, verifier), *REFUSED)
    assert not await flow.world.active(tokens["access_token"])


async def test_no_secret_of_one_kind_passes_for_another(flow: Flow, browser: Browser) -> None:
    """CVE-2026-4282: one store for all single-use things let codes be forged."""
    world = flow.world
    tokens = await flow.tokens(browser)
    code, verifier = await flow.signed_in(browser)
    cookies = [value for value in browser.cookies.values() if value]
    assert len(cookies) == 2
    secrets = [*cookies, tokens["refresh_token"], tokens["access_token"], tokens["id_token"],
               flow.client.secret or ""]  # fmt: skip
    for secret in secrets:
        for named in (secret, f"ac_{secret.partition('_')[2]}"):
            refused(await flow.redeem(named, verifier), *REFUSED)
    for secret in (code, *cookies):
        for named in (secret, f"rt_{secret.partition('_')[2]}"):
            refused(await world.refresh(named, flow.client), *REFUSED)
    for secret in (code, tokens["refresh_token"], *tokens["id_token"].split(".")):
        answer = await world.api.get("/userinfo", headers=bearer(secret))
        assert answer.status_code == 401
        stranger = Browser(world.api)
        for named in (secret, f"bs_{secret.partition('_')[2]}"):
            stranger.cookies.set("identity", named)
            told((await flow.start(stranger, prompt="none"))[0], "login_required")
    assert (await flow.redeem(code, verifier)).status_code == 200


async def test_what_was_cut_short_or_lengthened_is_worth_nothing(
    flow: Flow, browser: Browser
) -> None:
    """CVE-2026-27840: a prefix of an opaque token was accepted."""
    world = flow.world
    tokens = await flow.tokens(browser)
    code, verifier = await flow.signed_in(browser)
    refresh, cookie = tokens["refresh_token"], browser.cookies["identity"]
    for n in (1, 2, 20, 43):
        refused(await flow.redeem(code[:-n], verifier), *REFUSED)
        refused(await world.refresh(refresh[:-n], flow.client), *REFUSED)
        stranger = Browser(world.api)
        stranger.cookies.set("identity", cookie[:-n])
        told((await flow.start(stranger, prompt="none"))[0], "login_required")
    for wrong in ("{}=", "{}A", " {}", "{}%", "{}\u2028", "{}{}"):
        refused(await flow.redeem(wrong.format(code, code), verifier), *REFUSED)
        refused(await world.refresh(wrong.format(refresh, refresh), flow.client), *REFUSED)
    for token in (refresh[:-1], refresh + "A", tokens["access_token"][:-1]):
        assert not await world.active(token)
    assert (await flow.redeem(code, verifier)).status_code == 200
    assert (await world.refresh(refresh, flow.client)).status_code == 200


async def test_what_changed_while_somebody_read_the_page_is_judged_again(
    world: World, browser: Browser
) -> None:
    """CVE-2026-7571: what had been decided came back from the browser, and was believed."""
    world.user("ada", email="ada@example.com")
    boss = await acting.admin(world)

    async def page_of(name: str, **settings: Any) -> tuple[Flow, Any, str]:
        flow = Flow(world, code_client(world, name, **settings))
        page, verifier = await flow.start(browser, state="st")
        if "sign-in" in str(page.answer.url):
            page = await browser.sign_in(page)
        assert page.title.startswith("Allow access")
        return flow, page, verifier

    _, page, _ = await page_of("moved")
    await boss.done("PATCH", "/clients/moved", {"redirect_uris": [SECOND]})
    answered = await browser.submit(page, "agree")
    assert answered.status == 400 and "location" not in answered.answer.headers

    _, page, _ = await page_of("disabled")
    await boss.done("PATCH", "/clients/disabled", {"status": "disabled"})
    assert (await browser.submit(page, "agree")).status == 400

    flow, page, verifier = await page_of("narrowed")
    await boss.done("PATCH", "/clients/narrowed", {"scopes": ["openid"]})
    answered = await browser.submit(page, "agree")
    tokens = granted(await flow.redeem(answered.sent_to["code"], verifier))
    assert tokens["scope"] == "openid"

    _, page, _ = await page_of("without-the-grant")
    await boss.done("PATCH", "/clients/without-the-grant", {"grant_types": ["refresh_token"]})
    told(await browser.submit(page, "agree"), "unauthorized_client")
    assert not await world.events("authorization.granted") or all(
        event.client_id == "narrowed" for event in await world.events("authorization.granted")
    )


async def test_nothing_is_left_of_what_was_agreed_to_while_somebody_signed_out(
    world: World, browser: Browser
) -> None:
    """Eight tabs agree at once, and a ninth signs out: whichever came first, no token lives."""
    world.user("ada")
    flow = Flow(world, code_client(world))
    pages = [await flow.start(browser) for _ in range(8)]
    await browser.post("/sign-in", {"username": "ada", "password": PASSWORD})
    pages = [(await browser.get(str(page.answer.url)), verifier) for page, verifier in pages]
    assert all(page.title.startswith("Allow access") for page, _ in pages)
    leaving = await browser.get("/sign-out")
    answers = await asyncio.gather(
        *(browser.submit(page, "agree") for page, _ in pages[:4]),
        browser.submit(leaving),
        *(browser.submit(page, "agree") for page, _ in pages[4:]),
    )
    del answers[4]
    redeemed = []
    for answer, (_, verifier) in zip(answers, pages, strict=True):
        assert answer.status in (200, 303), answer.status
        if "location" in answer.answer.headers and "code" in answer.sent_to:
            redeemed.append(await flow.redeem(answer.sent_to["code"], verifier))
    for each in redeemed:
        refused(each, *REFUSED)
    told((await flow.start(browser, prompt="none"))[0], "login_required")


async def test_many_tabs_that_agree_at_once_all_finish(world: World, browser: Browser) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world))
    pages = [await flow.start(browser, scope=f"openid {more}") for more in ("email", "profile") * 4]
    await browser.post("/sign-in", {"username": "ada", "password": PASSWORD})
    pages = [(await browser.get(str(page.answer.url)), verifier) for page, verifier in pages]
    answers = await asyncio.gather(*(browser.submit(page, "agree") for page, _ in pages))
    tokens = [
        granted(await flow.redeem(answer.sent_to["code"], verifier))
        for answer, (_, verifier) in zip(answers, pages, strict=True)
    ]
    assert len({claims_of(each["id_token"])["sid"] for each in tokens}) == 1
    assert all([await world.active(each["access_token"]) for each in tokens])
