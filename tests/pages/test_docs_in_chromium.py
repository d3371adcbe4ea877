"""`/docs` in a real browser: somebody signs in in its popup, with what they have, and tries a call.

Held by decision 73."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.keyboard import enter
from tests.second_factors import App
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
ME = "#operations-Self-service-get_me"
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    missing = "playwright is not installed: no page was looked at"
    api = pytest.importorskip("playwright.sync_api", reason=missing)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    """In which nothing is logged as an error, but what the test of the moment asks for."""
    found = chromium.new_context(viewport={"width": 1200, "height": 900})
    found.set_default_timeout(180_000)
    yield found
    found.close()


def watched(page: Any, problems: list[str]) -> Any:
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    return page


def authorize(page: Any) -> Any:
    """Open the dialog, and press the button of the code's flow. The popup."""
    page.click("button.authorize >> nth=0")
    form = page.locator(".auth-container", has_text="authorizationCode with PKCE")
    assert form.locator("#client_id_authorizationCode").input_value() == "first-party"
    assert form.locator("input[type=checkbox]").count() == 1
    with page.expect_popup() as opened:
        form.locator("button.authorize").click()
    return opened.value


def test_somebody_with_a_second_factor_signs_in_in_the_popup_and_tries_a_call(
    context: Any, server: Start
) -> None:
    service, problems = server(), list[str]()
    page = watched(context.new_page(), problems)
    page.goto(f"{service.url}/account/factors")
    enter(page, "#username", "admin", ADMIN_PASSWORD)
    page.click("button:has-text('Set up')")
    app = App(page.inner_text("#key").replace(" ", ""))
    enter(page, "#code", app.code())
    page.wait_for_selector("h1:has-text('Recovery codes')")
    context.clear_cookies()

    page.goto(f"{service.url}/docs")
    page.wait_for_selector("button.authorize")
    popup = watched(authorize(page), problems)
    enter(popup, "#username", "admin", ADMIN_PASSWORD)
    popup.wait_for_selector("h1:has-text('Second step')")
    enter(popup, "#code", app.code(1))
    page.wait_for_selector(".auth-container h6:has-text('Authorized')")
    assert popup.is_closed()
    assert tried(page) == "200"
    assert problems == []


def test_nothing_of_somebody_stays_in_the_browser(context: Any, server: Start) -> None:
    page = context.new_page()
    page.goto(f"{server().url}/docs")
    page.click("button.authorize >> nth=0")
    form = page.locator(".auth-container", has_text="Flow: password")
    form.locator("#oauth_username").fill("admin")
    form.locator("#oauth_password").fill(ADMIN_PASSWORD)
    form.locator("button.authorize").click()
    page.wait_for_selector(".auth-container h6:has-text('Authorized')")
    assert tried(page) == "200"
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


def test_a_code_that_nobody_here_asked_for_goes_nowhere(context: Any, server: Start) -> None:
    """Whoever sends somebody to sign in gets them to this page, and is not told the code: neither
    by them, who could be asked to copy the address, nor as the page that has opened it."""
    service, problems = server(), list[str]()
    stranger = context.new_page()
    stranger.goto(f"http://localhost:{service.port}/healthz")
    back = f"{service.url}/docs/oauth2-redirect"
    with stranger.expect_popup() as opened:
        stranger.evaluate(f"void window.open('{back}?code=ac_1&state=s')")
    for page in (watched(opened.value, problems), watched(context.new_page(), problems)):
        if page is not opened.value:
            page.goto(f"{back}?code=ac_1&state=s")
        page.wait_for_url(back)
        assert "There is nothing to do here" in page.inner_text("body")
    # One that answers another request than the one that /docs has made is not taken, either.
    page = context.new_page()
    page.goto(f"{service.url}/docs")
    popup = authorize(page)
    popup.wait_for_selector("#username")
    with popup.expect_event("close"):
        popup.evaluate("to => void setTimeout(() => location.assign(to))", f"{back}?code=a&state=s")
    page.wait_for_selector(".auth-container .errors:has-text('not the one to what was asked')")
    assert problems == []


def tried(page: Any) -> str:
    """The status that a call got which needs a token."""
    page.locator("button.btn-done >> nth=0").click()
    page.click(f"{ME} .opblock-summary-control")
    page.click(f"{ME} button.try-out__btn")
    page.click(f"{ME} button.execute")
    status = f"{ME} .live-responses-table tbody .response-col_status"
    return str(page.locator(status).first.inner_text()).strip()
