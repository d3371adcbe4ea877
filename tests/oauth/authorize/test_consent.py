"""May this application do that? Asked once, of the browser that began, about what is new."""

import json

from tests.browsing import Browser, Flow, code_client
from tests.oauth.authorize.test_requests import told
from tests.world import World, claims_of, granted


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
