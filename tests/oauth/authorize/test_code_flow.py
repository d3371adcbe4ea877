"""The code flow over HTTP: a person at a browser, a client, and the tokens in the end."""

from tests.browsing import Browser, Flow, code_client
from tests.world import World, bearer, claims_of


async def test_a_person_signs_in_agrees_and_the_client_gets_tokens(world: World) -> None:
    ada = world.user("ada", email="ada@example.com", name="Ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)

    page, verifier = await flow.start(browser)
    assert page.title.startswith("Sign in") and "The Shop" in page.text
    page = await browser.sign_in(page)
    assert "asks for access" in page.text and "shop.example" in page.text
    page = await browser.submit(page, "agree")
    answer = await flow.redeem(page.sent_to["code"], verifier)

    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    told = claims_of(tokens["id_token"])
    assert told["sub"] == ada.id and told["aud"] == "shop"
    userinfo = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert userinfo.json()["email"] == "ada@example.com"
    assert (await world.refresh(tokens["refresh_token"], flow.client)).status_code == 200
