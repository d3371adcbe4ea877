"""One's own account in a real browser: by keyboard alone, without scripts, light and dark, on a
small phone, in a language from right to left; a console error fails."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlmodel import select

from identity.directory import consents
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.store import Database
from tests.keyboard import enter
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
PHONE, DESK = {"width": 360, "height": 640}, {"width": 1280, "height": 900}
PAGES = ("", "/profile", "/email", "/password", "/factors", "/sessions", "/applications",
         "/history", "/not-me", "/data", "/delete")  # fmt: skip
NEW = "walnut grove under a red kite"
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]):not([aria-hidden])')]
    .filter(field => !field.labels.length).length"""
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
def service(server: Start, db: Database) -> Server:
    """With an application that the administrator has agreed to."""
    started = server()
    name = "The Shop with a name that is rather long for such a small telephone"
    with db.transaction() as session:
        session.add(Client(id="shop", name=name, grants=["authorization_code"], scopes=["*"]))
        session.flush()
        admin = session.exec(select(User)).one()
        session.add(
            consents.Consent(
                user_id=admin.id, client_id="shop", scopes=["openid", "profile", "offline_access"]
            )
        )
    return started


class Tab:
    def __init__(self, chromium: Any, service: Server, **options: Any) -> None:
        options.setdefault("viewport", DESK)
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.url = service.url
        self.problems: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def sign_in(self, password: str = ADMIN_PASSWORD) -> None:
        """By keyboard alone; at a second sign-in the name is there already."""
        if self.page.input_value("#username"):
            enter(self.page, "#password", password)
        else:
            enter(self.page, "#username", "admin", password)

    def begin(self) -> None:
        self.go("/sign-in")
        self.sign_in()
        self.page.wait_for_url("**/account")

    def at(self, heading: str) -> None:
        self.page.wait_for_selector(f"h1:text-is('{heading}')")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_looks_after_their_account_by_keyboard(
    chromium: Any, service: Server, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page, keyboard = tab.page, tab.page.keyboard
    tab.go("/")
    tab.sign_in()
    tab.at("Your account")
    assert page.url == f"{tab.url}/account"
    keyboard.press("Tab")  # the first of all leads past the navigation
    keyboard.press("Enter")
    page.wait_for_url("**#main")
    page.click("nav >> text=Profile")
    page.focus("#name")
    enter(page, "#name", "Ada Lovelace")
    assert "Your profile is saved." in page.inner_text("[role=status]")
    assert page.input_value("#name") == "Ada Lovelace"
    page.fill("#phone_number", "12")
    keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#phone_number").get_attribute("aria-invalid") == "true"
    described = page.locator("#phone_number").get_attribute("aria-describedby").split()
    assert "international" in page.inner_text(f"#{described[0]}")
    page.click("[role=alert] a")  # to the field that is wrong
    assert page.url.endswith("#phone_number")
    page.click("nav >> text=Password")
    tab.at("Choose a new password")  # it was signed in to a moment ago
    enter(page, "#new_password", "short", "short")
    page.wait_for_selector("[role=alert]")
    assert "at least 15 characters" in page.inner_text("[role=alert]")
    assert page.input_value("#new_password") == ""
    enter(page, "#new_password", NEW, NEW)  # the focus is on what is wrong
    assert "signed out everywhere else" in page.inner_text("[role=status]")
    page.click("nav >> text=Sessions")
    assert "this one" in page.inner_text("main") and "Chrome on Linux" in page.inner_text("main")
    page.click("nav >> text=Applications")
    page.click("button:has-text('Take back')")
    assert "No application may act" in page.inner_text("main")
    page.click("nav >> text=History")
    assert "The password was changed" in page.inner_text("main")
    tab.go("/sign-out")
    page.wait_for_selector("button:focus")
    keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('You are signed out')")
    for _ in range(2):  # what was there before is not to be had by going back
        page.go_back()
        assert "Ada" not in page.content() and "The password was changed" not in page.content()
    tab.go("/account")
    tab.sign_in(NEW)
    tab.at("Your account")
    tab.close()


def test_a_language_is_chosen_and_stays(chromium: Any, service: Server) -> None:
    tab = Tab(chromium, service, locale="en-GB")
    tab.go("/sign-in")
    tab.page.click("text=Language: English")
    tab.page.click("text=Deutsch")
    tab.at("Anmelden")
    tab.sign_in()
    tab.at("Ihr Konto")
    assert tab.page.evaluate("document.documentElement.lang") == "de"
    tab.close()


def test_every_page_is_whole_in_light_and_dark_on_a_phone_and_from_right_to_left(
    chromium: Any, service: Server
) -> None:
    looked, wrong = 0, list[object]()
    for scheme, viewport, tag in (
        ("light", PHONE, "en"), ("dark", DESK, "de"), ("light", PHONE, "ar-XB"),
    ):  # fmt: skip
        tab = Tab(chromium, service, viewport=viewport, color_scheme=scheme)
        name = "identity-language"
        tab.context.add_cookies([{"name": name, "value": tag, "url": tab.url}])
        tab.begin()
        for path in (*(f"/account{each}" for each in PAGES), "/language"):
            tab.go(path)
            wrong += look(tab, scheme, viewport, tag, path)
            looked += 1
        tab.page.goto(f"{tab.url}/account/password")
        tab.page.fill("#new_password", "short")
        tab.page.fill("#repeated", "other")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector("[role=alert]")
        wrong += look(tab, scheme, viewport, tag, "/account/password-wrong")
        tab.close()
    assert wrong == []
    assert looked == 3 * (len(PAGES) + 1)


def look(tab: Tab, scheme: str, viewport: dict[str, int], tag: str, path: str) -> Iterator[object]:
    """What is wrong with the page."""
    page, where = tab.page, (scheme, viewport["width"], tag, path)
    if folder := os.environ.get("SCREENS"):
        name = f"{scheme}-{viewport['width']}-{tag}-{path.strip('/').replace('/', '-')}.png"
        page.screenshot(path=f"{folder}/{name}", full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > viewport["width"]:
        yield where, "scrolls sideways", width
    if page.evaluate("document.documentElement.lang") != tag:
        yield where, "speaks another language"
    if page.evaluate(UNNAMED):
        yield where, "has a field without a name"
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    light = sum(int(n) for n in ground[4:-1].split(",")[:3]) > 384
    if light != (scheme == "light"):
        yield where, ground


def test_axe_finds_nothing_on_any_page(chromium: Any, service: Server, axe: str) -> None:
    found = []
    for scheme in ("light", "dark"):
        tab = Tab(chromium, service, viewport=PHONE, color_scheme=scheme)
        tab.go("/sign-in")
        for path in ("/sign-in", "/language", *(f"/account{each}" for each in PAGES)):
            if path == "/account":
                tab.begin()
            tab.go(path)
            tab.page.evaluate(axe)
            for each in tab.page.evaluate("axe.run().then(found => found.violations)"):
                found.append((scheme, path, each["id"], each["nodes"][0]["html"][:200]))
        tab.close()
    assert found == []
