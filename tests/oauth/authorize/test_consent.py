"""May this application do that? Asked once, of the browser that began, about what is new."""

import json
from collections.abc import Callable

import pytest

from identity.directory import consents
from identity.directory.clients import accounts
from identity.oauth.grants.registry import GRANTS
from tests import acting
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.oauth.authorize.test_requests import told
from tests.world import PASSWORD, World, claims_of, granted

SECOND, EVIL = "https://shop.example/second", "https://evil.example/callback"


async def asked(flow: Flow, browser: Browser, **changed: str | None) -> bool:
    page, _ = await flow.start(browser, **changed)
    if page.title.startswith("Allow access"):
        return True
    assert page.sent_to["code"]
    return False


async def test_what_was_agreed_to_is_not_asked_again_but_more_is(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    await flow.tokens(browser, scope="openid profile")
    assert not await asked(flow, browser, scope="openid profile")
    assert not await asked(flow, browser, scope="openid")
    assert await asked(flow, browser, scope="openid profile", prompt="consent")
    page, _ = await flow.start(browser, scope="openid profile offline_access")
    assert "Keep access while you are away" in page.text
    told((await flow.start(browser, prompt="none", scope="openid email"))[0], "consent_required")
    other = Flow(world, code_client(world, "other"))
    assert await asked(other, browser, scope="openid")


async def test_who_declines_is_sent_back_with_access_denied(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    page, _ = await flow.start(browser, state="st")
    page = await browser.submit(await browser.sign_in(page), "decline")
    assert told(page, "access_denied")["state"] == "st"
    assert await asked(flow, browser)


async def test_our_own_application_does_not_ask(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    assert not await asked(flow, browser)
    assert await asked(flow, browser, prompt="consent")


async def test_a_program_on_the_users_machine_is_asked_about_every_time(world: World) -> None:
    world.user("ada")
    for n, uri in enumerate(("http://127.0.0.1/cb", "com.example.app:/cb")):
        client = code_client(world, f"app-{n}", public=True, redirect_uris=[uri])
        flow, browser = Flow(world, client, redirect_uri=uri), Browser(world.api)
        await flow.tokens(browser)
        assert await asked(flow, browser)
        told((await flow.start(browser, prompt="none"))[0], "consent_required")


async def test_an_address_of_the_consent_page_is_worth_nothing_in_another_browser(
    world: World,
) -> None:
    world.user("ada")
    world.user("eve")
    flow, attacker, victim = Flow(world, code_client(world)), Browser(world.api), Browser(world.api)
    page, _ = await flow.start(attacker)
    page = await attacker.sign_in(page, "eve")
    fed = str(page.answer.url)
    await victim.sign_in(await victim.get("/sign-in"))
    there = await victim.post(fed, {"answer": "agree"})
    assert there.title.startswith("Allow access")  # asked by a page of its own browser
    assert "location" not in there.answer.headers
    for said in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.example"}):
        said.setdefault("sec_fetch_site", "cross-site")
        answer = await victim.post(str(there.answer.url), {"answer": "agree"}, **said)
        assert answer.status == 403


async def test_an_answer_without_a_choice_is_asked_again(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    page = await browser.sign_in((await flow.start(browser))[0])
    answer = await browser.post(str(page.answer.url), {"answer": "perhaps"})
    assert answer.status == 422 and "Choose one of the two" in answer.text


async def test_a_single_claim_is_agreed_to_like_its_scope(world: World) -> None:
    world.user("ada", email="ada@example.com", name="Ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    wanted = json.dumps({"userinfo": {"email": None}, "id_token": {"name": {"essential": True}}})
    page, verifier = await flow.start(browser, scope="openid", claims=wanted)
    page = await browser.sign_in(page)
    assert "e-mail address" in page.text and "profile" in page.text
    page = await browser.submit(page, "agree")
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert tokens["scope"] == "openid"
    told_of = claims_of(tokens["id_token"])
    assert told_of["name"] == "Ada" and "email" not in told_of
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    said = (await world.api.get("/userinfo", headers=headers)).json()
    assert said["email"] == "ada@example.com" and "name" not in said
    again = granted(await world.refresh(tokens["refresh_token"], flow.client))
    assert claims_of(again["id_token"])["name"] == "Ada"


async def test_another_redirect_uri_withdraws_what_all_have_agreed_to(world: World) -> None:
    """Whoever may write clients would get the codes of all who agreed when it was not there."""
    client = code_client(world, redirect_uris=[CALLBACK, SECOND])
    flow, browsers = Flow(world, client), {}
    for name in ("ada", "bob"):
        world.user(name)
        browser = browsers[name] = Browser(world.api)
        await browser.sign_in(await browser.get("/sign-in"), name)
        tokens = await flow.tokens(browser)
    boss = await acting.admin(world)
    for harmless in (
        {"redirect_uris": [SECOND, CALLBACK]},
        {"redirect_uris": [CALLBACK]},
        {"name": "Shop", "contacts": ["ops@example.com"]},
    ):
        await boss.done("PATCH", "/clients/shop", harmless)
        assert not await asked(flow, browsers["ada"])
    await boss.done("PATCH", "/clients/shop", {"redirect_uris": [CALLBACK, EVIL]})
    (event,) = await world.events("client.consents_withdrawn")
    assert (event.subject, event.detail["count"]) == ("shop", 2)
    for uri in (CALLBACK, EVIL):
        for browser in browsers.values():
            page, _ = await flow.start(browser, redirect_uri=uri, prompt="none")
            told(page, "consent_required")
    assert await world.active(tokens["access_token"])
    await flow.tokens(browsers["ada"])
    assert not await asked(flow, browsers["ada"])
    # One that was taken away and comes again is another as well.
    await boss.done("PATCH", "/clients/shop", {"redirect_uris": [EVIL]})
    await boss.done("PATCH", "/clients/shop", {"redirect_uris": [EVIL, CALLBACK]})
    assert await asked(flow, browsers["ada"])


async def test_who_agrees_while_a_redirect_uri_is_added_is_asked_again(world: World) -> None:
    ada = world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    await world.services.feed.catch_up()
    shown = await world.services.clients.get("shop")
    assert shown is not None
    boss = await acting.admin(world)
    await boss.done("PATCH", "/clients/shop", {"redirect_uris": [CALLBACK, EVIL]})
    await world.services.db.write_plain(
        lambda work: consents.grant(work, ada.id, shown, ["openid", "profile", "email"])
    )
    await browser.sign_in(await browser.get("/sign-in"))
    assert await asked(flow, browser)
    assert await world.events("consent.granted") == []


async def test_a_consent_is_never_older_than_the_client_that_it_is_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is read anew, by a request that came before it was changed."""
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    await flow.tokens(browser)
    assert not await asked(flow, browser)
    services = world.services

    def add() -> None:
        with world.change() as session:
            client = accounts.get(session, "shop", lock=True)
            wanted = {"redirect_uris": [CALLBACK, EVIL]}
            accounts.update(session, client, wanted, known_grants=GRANTS, held=None)

    waiting: list[Callable[[], None]] = [add]
    really = services.feed.catch_up

    async def catch_up() -> None:
        await really()
        if waiting:
            waiting.pop()()

    services.clients.forget("shop")
    monkeypatch.setattr(services.feed, "catch_up", catch_up)
    page, _ = await flow.start(browser, redirect_uri=EVIL, prompt="none")
    assert not waiting
    told(page, "consent_required")


async def test_a_client_that_takes_the_id_of_another_is_agreed_to_anew(world: World) -> None:
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    await flow.tokens(browser)
    assert not await asked(flow, browser)
    boss = await acting.admin(world)
    await boss.done("DELETE", "/clients/shop")
    assert await asked(Flow(world, code_client(world)), browser)


async def test_an_answer_counts_for_whom_it_was_asked_of(world: World) -> None:
    """In one tab Ada is asked, in another Eve signs in: Eve has agreed to nothing."""
    for name in ("ada", "eve"):
        world.user(name)
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    page = await browser.sign_in((await flow.start(browser))[0])
    assert page.title.startswith("Allow access") and "ada" in page.text
    await browser.post("/sign-in", {"username": "eve", "password": PASSWORD})
    for button in ("agree", "decline"):
        answer = await browser.submit(page, button)
        assert answer.title.startswith("Allow access") and "eve" in answer.text
        assert "location" not in answer.answer.headers
    assert await world.events("consent.granted") == []


async def test_an_answer_counts_for_what_was_shown(world: World) -> None:
    """The page said `openid`; meanwhile the client may have more."""
    ada = world.user("ada")
    flow = Flow(world, code_client(world, scopes=["openid"]))
    browser = Browser(world.api)
    page = await browser.sign_in((await flow.start(browser, scope="openid email"))[0])
    assert page.title.startswith("Allow access") and "e-mail" not in page.text
    world.change_client("shop", scopes=["openid", "email"])
    page = await browser.submit(page, "agree")
    assert page.title.startswith("Allow access") and "e-mail" in page.text
    assert (await browser.submit(page, "agree")).sent_to["code"]
    (event,) = await world.events("consent.granted")
    assert (event.subject, event.detail["scopes"]) == (ada.id, ["email", "openid"])


async def test_a_request_without_a_scope_is_agreed_to_as_well(world: World) -> None:
    """Its tokens say whose they are, and nobody has said that the client may know."""
    world.user("ada")
    flow = Flow(world, code_client(world, scopes=["openid"]))
    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    told((await flow.start(browser, scope=None, prompt="none"))[0], "consent_required")
    page, _ = await flow.start(browser, scope=None)
    assert "know that it is you" in page.text
    told(await browser.submit(page, "decline"), "access_denied")
    assert await asked(flow, browser, scope=None)
    assert (await browser.submit(page, "agree")).sent_to["code"]
    assert not await asked(flow, browser, scope=None)
    assert await asked(flow, browser, scope="openid")
