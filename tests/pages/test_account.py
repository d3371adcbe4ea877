"""`/account` by forms alone, as a browser without scripts sends them."""

from urllib.parse import urljoin

import pytest

from tests.browsing import Browser, Form, Page
from tests.second_factors import App
from tests.world import World

NEW = "walnut grove under a red kite"
only = pytest.mark.parametrize("dialect", ["sqlite"])
PAGES = ("", "/profile", "/email", "/password", "/factors", "/sessions", "/applications",
         "/history", "/not-me", "/data", "/delete")  # fmt: skip


async def signed_in(world: World, username: str = "ada", app: App | None = None) -> Browser:
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), username)
    if app is not None:
        page = await browser.submit(page, "code", code=app.code())
    assert page.title.startswith("Your account"), page.text
    return browser


def form_with(page: Page, words: str) -> Form:
    """The one whose button says so."""
    found = [
        form
        for form in page.forms
        if any(words in f"{value} {text}" for _, value, text in form.buttons)
    ]
    assert found, page.answer.text
    return found[0]


async def press(browser: Browser, page: Page, words: str, at: int = 0, **fields: str) -> Page:
    found = [each for each in page.forms if words in {value for _, value, _ in each.buttons}]
    assert len(found) > at, page.answer.text
    form = found[at]
    pressed = {name: value for name, value, _ in form.buttons if value == words}
    address = urljoin(str(page.answer.url), form.action)
    return await browser.post(address, form.fields | fields | pressed)


async def test_every_page_is_for_who_is_signed_in_and_says_nothing_without(world: World) -> None:
    user = world.user(email="ada@example.com", name="Ada Lovelace")
    stranger, browser = Browser(world.api), await signed_in(world)
    for path in PAGES:
        page = await stranger.get(f"/account{path}")
        assert page.title.startswith("Sign in"), path
        page = await browser.get(f"/account{path}")
        assert page.status == 200, (path, page.text)
        headers = page.answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "form-action 'self'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert page.answer.text.count('aria-current="page"') == 1, path
        assert 'href="#main"' in page.answer.text and "hash" not in page.answer.text
        assert user.id not in page.title
