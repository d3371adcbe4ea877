"""The first sign-in on pages offers a second factor: once, and to nobody who is on their way."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.acting import admin
from tests.browsing import Browser, Flow, code_client
from tests.pages.console.sitting import administrator
from tests.second_factors import at_once, with_app
from tests.world import PASSWORD, World

OFFER = "Make your account safer"


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings(offer_second_factor=True)


async def signed_in(world: World, address: str = "/sign-in", username: str = "ada") -> Any:
    browser = Browser(world.api)
    return browser, await browser.sign_in(await browser.get(address), username)


async def test_a_factor_is_offered_at_the_first_sign_in_and_never_again(world: World) -> None:
    world.user()
    browser, page = await signed_in(world)
    assert page.title.startswith(OFFER) and 'href="/account"' in page.answer.text
    assert "You are signed in" in (await browser.get("/account")).text
    _, page = await signed_in(world)
    assert "You are signed in" in page.text
    page = await browser.submit(await browser.get("/account/offer"), "begin")
    assert page.title.startswith("Set up an authenticator app")


async def test_of_many_sign_ins_at_once_one_is_offered_it(world: World) -> None:
    world.user()
    pages = [page for _, page in await at_once(*(signed_in(world) for _ in range(4)))]
    assert sum(page.title.startswith(OFFER) for page in pages) == 1


async def test_nobody_is_held_up_on_the_way_to_an_application_or_an_act(world: World) -> None:
    world.user()
    flow = Flow(world, code_client(world, first_party=True))
    tokens = await flow.tokens(Browser(world.api))
    assert tokens["access_token"]
    _, page = await signed_in(world, "/sign-in?to=%2Faccount%2Fpassword")
    assert page.title.startswith("Password")
    _, page = await signed_in(world)
    assert page.title.startswith(OFFER), "it is offered when there is time"


async def test_it_leads_on_to_where_somebody_was_going_and_nowhere_else(world: World) -> None:
    administrator(world)
    browser, page = await signed_in(world, "/sign-in?to=%2Fconsole%2Fusers", "root")
    assert page.title.startswith(OFFER) and 'href="/console/users"' in page.answer.text
    for elsewhere in ("https://evil.example", "//evil.example", "/%5Cevil.example", "javascript:1"):
        page = await browser.get("/account/offer", params={"to": elsewhere})
        assert page.status == 400 and "evil" not in page.answer.text, elsewhere
    _, page = await signed_in(world, "/account/offer?to=%2Fconsole%2Fusers", "root")
    assert page.title.startswith(OFFER)


async def test_who_has_a_factor_is_offered_none(world: World) -> None:
    _, app = with_app(world)
    browser, page = await signed_in(world)
    page = await browser.submit(page, "code", code=app.code())
    assert "You are signed in" in page.text
    assert "You are signed in" in (await browser.get("/account/offer")).text


async def test_it_is_offered_after_a_one_time_password(world: World) -> None:
    user = world.user()
    given = await (await admin(world)).done("POST", f"/users/{user.id}/password")
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), password=given["password"])
    new = f"{PASSWORD} and more"
    page = await browser.submit(page, password=given["password"], new_password=new)
    assert page.title.startswith(OFFER)
