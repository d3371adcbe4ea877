"""What a brand does to the pages, in a real browser; and axe looks at every one of them."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlmodel import select

from identity.directory.branding.colours import contrast
from identity.directory.branding.logos import drawn
from identity.directory.clients.table import Client
from identity.directory.issuers import editing as issuers
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.pages.console.screens import SCREENS
from identity.pages.registry import PAGES
from identity.service.administration import branding
from identity.store import Database
from tests.keyboard import enter, until
from tests.pictures import png
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
DESK = {"width": 1280, "height": 800}
BRAND = {"name": "Lighthouse & Söhne", "accent": "#0b6b4f", "background": "#f3f6f4"}
LOOKED = """() => { const style = getComputedStyle(document.querySelector('button.primary'));
    return [style.backgroundColor, style.color,
            getComputedStyle(document.documentElement).backgroundColor]; }"""
LOADED = "() => [...document.images].every(each => each.complete && each.naturalWidth > 0)"
QUERIES = {"user": "?id={user}", "client": "?id=shop", "client_logo": "?id=shop",
           "role": "?name=admin", "scope": "?name=users:read", "issuer": "?id={issuer}",
           "search": "?q=so"}  # fmt: skip
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
        session.add(Client(id="shop", name="The Shop", grants=["authorization_code"], scopes=["*"]))
        for n in range(3):
            accounts.create(session, username=f"somebody{n}", name="Somebody", roles=[])
        issuers.create(
            session, issuer="https://cluster.example", chosen={}, own_issuer=started.url, held=None
        )
    return started


def dress(db: Database) -> None:
    with db.transaction() as session:
        branding.change(session, BRAND, None)
        branding.set_logo(session, drawn(png()), None)
        branding.set_logo_of(session, "shop", drawn(png(80, 40, "#b4540a")), None, None)


class Tab:
    """A tab in which a console error, or a refused style or picture, is a failure."""

    def __init__(self, chromium: Any, service: Server) -> None:
        self.context = chromium.new_context(viewport=DESK)
        self.context.set_default_timeout(60_000)
        self.service, self.page = service, self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(self.service.url + path)

    def sign_in(self) -> None:
        self.go("/sign-in")
        enter(self.page, "#username", "admin", ADMIN_PASSWORD)
        self.page.wait_for_url("**/account")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


def hexed(colour: str) -> str:
    numbers = colour.removeprefix("rgb(").removesuffix(")").split(",")
    return "#" + "".join(f"{int(number):02x}" for number in numbers)


def test_a_brand_is_seen_in_both_schemes(chromium: Any, service: Server, db: Database) -> None:
    tab = Tab(chromium, service)
    dress(db)
    seen = {}
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        tab.go("/sign-in")
        until(tab.page, LOADED)
        seen[scheme] = [hexed(each) for each in tab.page.evaluate(LOOKED)]
        button, words, _ = seen[scheme]
        assert contrast(button, words) >= 4.5
    assert seen["light"] == ["#0b6b4f", "#ffffff", "#f3f6f4"]
    assert seen["dark"][0] not in ("#0b6b4f", "#8fb0ff") and seen["dark"][2] == "#10141c"
    assert tab.page.title() == "Sign in · Lighthouse & Söhne"
    tab.close()


def test_a_logo_is_chosen_and_seen_at_once(chromium: Any, service: Server, tmp_path: Any) -> None:
    """As an administrator does it, with a file of their own."""
    file = tmp_path / "logo.png"
    file.write_bytes(png(120, 40))
    tab = Tab(chromium, service)
    tab.sign_in()
    tab.go("/console/branding")
    tab.page.click("a:has-text('Set the logo')")
    tab.page.set_input_files("#logo", file)
    tab.page.click("button.primary")
    tab.page.wait_for_selector("[role=status]:has-text('Saved')")
    until(tab.page, LOADED)
    assert tab.page.locator(".bar .brand img").get_attribute("alt") == "Identity"
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    tab.go("/console/branding?do=logo")
    tab.page.set_input_files("#logo", tmp_path / "logo.svg")
    tab.page.click("button.primary")
    tab.page.wait_for_selector("[role=alert]:has-text('PNG, JPEG or WebP')")
    tab.close()


@pytest.mark.parametrize("dressed", [False, True])
def test_axe_finds_nothing_on_any_page(
    chromium: Any, service: Server, db: Database, axe: str, dressed: bool
) -> None:
    """Without a brand `make parties` looks at all of them; every run at them with one."""
    if not dressed and "PARTIES" not in os.environ:
        pytest.skip("what comes without a brand is looked at in `make parties`")
    if dressed:
        dress(db)
    with db.transaction() as session:
        ids = {"user": session.exec(select(User.id).where(User.username == "somebody1")).one(),
               "issuer": issuers.get(session, "https://cluster.example").id}  # fmt: skip
    tab = Tab(chromium, service)
    found = looked_at(tab, "/sign-in", axe) + looked_at(tab, "/reset-password", axe)
    tab.sign_in()
    addresses = [e.path for e in PAGES if e.path.startswith(("/account", "/language", "/device"))]
    addresses += [each.path + QUERIES.get(each.module, "").format(**ids) for each in SCREENS]
    for address in addresses:
        answer = tab.context.request.get(tab.service.url + address, max_redirects=0)
        if answer.headers.get("content-type", "").startswith("text/html"):
            found += looked_at(tab, address, axe)
    assert found == []
    tab.close()


def looked_at(tab: Tab, address: str, axe: str) -> list[Any]:
    """What axe finds there, in both schemes."""
    tab.go(address)
    tab.page.evaluate(axe)
    found = []
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        for each in tab.page.evaluate("axe.run().then(found => found.violations)"):
            found.append((scheme, address, each["id"], each["nodes"][0]["html"][:200]))
    return found
