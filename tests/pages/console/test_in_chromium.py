"""The console in a real browser: by keyboard, without scripts, light and dark, on a small phone."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from identity.directory.access import editing
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.pages.console.screens import SCREENS
from identity.store import Database
from tests.keyboard import enter, until
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
PHONE = {"width": 360, "height": 640}
DESK = {"width": 1280, "height": 800}
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
    .filter(field => !field.labels.length && !field.ariaLabel).length"""
TWICE = """(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    return ids.filter((id, at) => ids.indexOf(id) !== at); })()"""
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
    started = server()
    with db.transaction() as session:
        editing.create_role(session, name="clerk", description="Handles orders", held=None)
        for n in range(60):
            accounts.create(
                session, username=f"somebody.with.a.rather.long.name.{n:03}",
                name=f"Somebody whose name is long {n}", email=f"somebody{n}@example.com",
                roles=["clerk"] if n % 2 else [],
            )  # fmt: skip
        session.add(
            Client(
                id="shop", name="The Shop with a name that is rather long for a telephone",
                grants=["authorization_code", "refresh_token"], scopes=["*"],
                settings={"redirect_uris": ["https://shop.example/callback/that/goes/on/and/on"]},
            )
        )  # fmt: skip
    return started


class Tab:
    """A tab in which a console error, or a refused script or style, is a failure."""

    def __init__(self, chromium: Any, service: Server, **options: Any) -> None:
        options.setdefault("viewport", DESK)
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(60_000)
        self.service = service
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def sign_in(self, path: str = "/console") -> None:
        self.page.goto(self.service.url + path)
        enter(self.page, "#username", "admin", ADMIN_PASSWORD)
        self.page.wait_for_selector("body.console")

    def go(self, path: str) -> None:
        self.page.goto(self.service.url + path)
        self.page.wait_for_selector("body.console")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


def test_somebody_is_found_and_disabled_by_keyboard_alone(
    chromium: Any, service: Server, db: Database
) -> None:
    tab = Tab(chromium, service)
    page = tab.page
    tab.sign_in()
    enter(page, "#find", "somebody.with.a.rather.long.name.007")
    page.wait_for_selector("h1:has-text('somebody.with.a.rather.long.name.007')")
    page.focus("a:has-text('Disable')")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Disable')")
    page.focus("button.danger")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('Disabled')")
    page.wait_for_load_state()
    page.keyboard.press("/")
    page.wait_for_selector("#find:focus")
    with db.transaction() as session:
        user = accounts.find_by_login(session, "somebody.with.a.rather.long.name.007")
        assert user is not None and user.status == "disabled"
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_client_is_registered_and_its_secret_shown_once(
    chromium: Any, service: Server, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    tab.sign_in("/console/clients")
    page.click("a:has-text('New client')")
    page.click("a:has-text('Web application')")
    page.fill("#name", "New shop")
    page.fill("#redirect_uris", "http://elsewhere.example/cb")
    page.click("button.primary")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#redirect_uris").get_attribute("aria-invalid") == "true"
    if scripts:
        page.wait_for_selector("#redirect_uris:focus")
    page.fill("#redirect_uris", "https://new.example/cb")
    page.click("button.primary")
    page.wait_for_selector("h1:has-text('Client registered')")
    assert page.inner_text("[data-copy]").startswith("cs_")
    assert page.locator("[data-copies]").is_visible() is scripts
    page.click("a:has-text('I have it')")
    page.wait_for_selector("h1:has-text('New shop')")
    assert "cs_" not in page.content().replace("cs_secret", "")
    page.fill("#redirect", "https://new.example/cb/")
    page.click("button:has-text('Check')")
    page.wait_for_selector(".verdict.bad")
    tab.close()


def test_the_numbers_of_the_overview_come_anew(
    chromium: Any, service: Server, db: Database
) -> None:
    tab = Tab(chromium, service)
    page = tab.page
    page.clock.install()
    tab.sign_in()
    before = int(page.inner_text("[data-number=logins]"))
    other = Tab(chromium, service)
    other.sign_in()
    with page.expect_response(lambda answer: "part=live" in answer.url):
        page.clock.run_for(11_000)
    until(
        page,
        f"Number(document.querySelector('[data-number=logins]').textContent) > {before}",
    )
    other.close()
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_users_come_from_a_file_and_leave_as_one(
    chromium: Any, service: Server, db: Database, tmp_path: Path, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    file = tmp_path / "people.csv"
    rows = [f"new{n},<b>Name {n}</b>," for n in range(1_200)]
    rows[700] = "two words,,"
    file.write_text("\n".join(["username,name,roles", *rows]))
    tab.sign_in("/console/users")
    page.click("a:has-text('Import')")
    page.set_input_files("#file", file)
    page.click("button:has-text('Look at it first')")
    page.wait_for_selector("h2:has-text('Have it done')")
    assert page.locator(".coming .count:visible").count() == 1
    assert "1199" in page.inner_text(".coming .count:visible")
    assert "Line 702" in page.inner_text(".coming .one")
    page.set_input_files("#file", file)
    page.click("button:has-text('Import')")
    page.wait_for_selector(".done:has-text('That was the whole file')")
    with db.transaction() as session:
        user = accounts.find_by_login(session, "new7")
        assert user is not None and user.name == "<b>Name 7</b>"
    tab.go("/console/users?q=new&view=never")
    page.click("a:has-text('Export')")
    page.wait_for_selector("h1:has-text('Export users')")
    with page.expect_download() as download:
        page.click("button:has-text('Download')")
    assert download.value.suggested_filename == "users.csv"
    saved = tmp_path / "out.csv"
    download.value.save_as(saved)
    assert len(saved.read_text().splitlines()) == 1_200
    tab.close()


def test_a_whole_list_is_disabled_by_keyboard_and_its_progress_seen(
    chromium: Any, service: Server, db: Database
) -> None:
    tab = Tab(chromium, service)
    page = tab.page
    tab.sign_in("/console/users?role=clerk")
    page.select_option("#bulk", "disable")
    page.select_option("#whom", "all")
    page.focus("button:has-text('Look at it first')")
    page.keyboard.press("Enter")
    page.wait_for_selector("p:has-text('This is about 30 users')")
    page.focus("button.danger")
    page.keyboard.press("Enter")
    page.wait_for_selector(".count:has-text('30 of 30')")
    page.wait_for_load_state()
    assert page.locator(".coming .count:visible").count() == 1
    assert page.locator(".coming .one").count() == 30
    with db.transaction() as session:
        user = accounts.find_by_login(session, "somebody.with.a.rather.long.name.001")
        assert user is not None and user.status == "disabled"
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_why_is_asked_and_a_token_previewed(
    chromium: Any, service: Server, db: Database, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    tab.sign_in("/console/users?q=somebody.with.a.rather.long.name.001")
    page.click("th a:has-text('name.001')")
    page.click("a:has-text('Why could they not sign in?')")
    page.wait_for_selector("#sign-in :text('The user has no password')")
    page.fill("#client", "shop")
    page.press("#client", "Enter")
    page.wait_for_selector("#rights th:has-text('openid')")
    page.click("a:has-text('What the token would say')")
    page.wait_for_selector("h2:has-text('Access token')")
    assert "preview" in page.inner_text("tr:has-text('jti')")
    page.fill("#user", "nobody")
    page.press("#user", "Enter")
    page.wait_for_selector("[role=alert]:has-text('There is no such user')")
    assert page.locator("#user").get_attribute("aria-invalid") == "true"
    if scripts:
        page.wait_for_selector("#user:focus")
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_fits_a_small_phone_in_light_and_dark(
    chromium: Any, service: Server, db: Database, scheme: str
) -> None:
    tab = Tab(chromium, service, viewport=PHONE, color_scheme=scheme)
    page = tab.page
    tab.sign_in()
    with db.transaction() as session:
        user = accounts.find_by_login(session, "somebody.with.a.rather.long.name.001")
        assert isinstance(user, User)
        user_id = user.id
    queries = {
        "/console/user": f"?id={user_id}", "/console/client": "?id=shop",
        "/console/client-logo": "?id=shop",
        "/console/role": "?name=admin", "/console/scope": "?name=users:read",
        "/console/search": "?q=some",
        "/console/user-why": f"?id={user_id}&client=shop&scope=users:read openid nothing",
        "/console/client-preview": f"?id=shop&user={user_id}&scope=openid profile users:read",
    }  # fmt: skip
    addresses = [
        each.path + queries.get(each.path, "")
        for each in SCREENS
        if each.module not in ("audit_export", "issuer")
    ]
    addresses += [
        "/console/users?do=export&status=active", f"/console/user?id={user_id}&do=edit",
        "/console/client?id=shop&do=settings",
        "/console/role?name=clerk&do=edit", "/console/keys?do=rotate", "/console/users?do=create",
    ]  # fmt: skip
    for address in addresses:
        tab.go(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], (address, width)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(int(n) for n in ground[4:-1].split(",")[:3]) > 384
        assert light == (scheme == "light"), (address, ground)
        assert page.evaluate(UNNAMED) == 0, address
        assert page.evaluate(TWICE) == [], address
        if folder := os.environ.get("SCREENS"):
            name = address.removeprefix("/").translate(str.maketrans("/?=&:", "-----"))
            page.screenshot(path=f"{folder}/{scheme}-{name[:40]}.png")
    page.click("summary:has-text('Menu')")
    page.click("nav a:has-text('Signing keys')")
    page.wait_for_selector("h1:has-text('Signing keys')")
    tab.close()
