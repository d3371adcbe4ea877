"""People's pages in a real browser: with and without scripts, light and dark, on a small phone."""

import os
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from identity.directory.clients.table import Client
from identity.store import Database
from tests.browsing import CODE_GRANTS, verifier_and_challenge
from tests.keyboard import enter
from tests.second_factors import App
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
PHONE = {"width": 360, "height": 640}
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden])')]
    .filter(field => !field.labels.length).length"""
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    missing = "playwright is not installed: no page was looked at"
    api = pytest.importorskip("playwright.sync_api", reason=missing)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Shop:
    """The client's server: what it was told, and how."""

    def __init__(self) -> None:
        told: list[tuple[str, dict[str, str]]] = []

        class Callback(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._take(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._take(self.rfile.read(int(self.headers["content-length"])).decode())

            def _take(self, said: str) -> None:
                if self.path.startswith("/callback"):
                    told.append((self.command, dict(parse_qsl(said))))
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>The shop</title>")

            def log_message(self, *_: object) -> None: ...

        self.told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/callback"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def service(server: Start, db: Database, shop: Shop) -> Server:
    """With a third party's client, `shop`."""
    started = server()
    with db.transaction() as session:
        session.add(
            Client(
                id="shop",
                name="The Shop with a name that is rather long for such a small telephone",
                grants=list(CODE_GRANTS),
                scopes=["*"],
                settings={
                    "redirect_uris": [shop.uri],
                    "policy_uri": "https://shop.example/privacy",
                    "tos_uri": "https://shop.example/terms",
                },
            )
        )
        session.add(
            Client(
                id="tv",
                type="public",
                name="The Television in the living room, which has a rather long name as well",
                grants=[DEVICE_CODE],
                scopes=["*"],
                settings={"redirect_uris": [shop.uri]},
            )
        )
    return started


class Tab:
    """A tab in which a console error or a refused style is a failure."""

    def __init__(self, chromium: Any, service: Server, shop: Shop, **options: Any) -> None:
        options.setdefault("viewport", {"width": 1024, "height": 768})
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(60_000)
        self.service, self.shop = service, shop
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def told(self) -> dict[str, str]:
        """What the client was told last, once the browser is there."""
        self.page.wait_for_url(f"{self.shop.uri}**")
        return self.shop.told[-1][1]

    def ask(self, **changed: str) -> None:
        _, challenge = verifier_and_challenge()
        asked = {
            "response_type": "code", "client_id": "shop", "redirect_uri": self.shop.uri,
            "scope": "openid profile email offline_access", "state": "st-1",
            "code_challenge": challenge, "code_challenge_method": "S256", **changed,
        }  # fmt: skip
        self.page.goto(f"{self.service.url}/authorize?{urlencode(asked)}")

    def sign_in(self, password: str = ADMIN_PASSWORD) -> None:
        """By keyboard alone: the focus is where somebody would type."""
        enter(self.page, "#username", "admin", password)

    def set_up_app(self) -> tuple[App, list[str]]:
        """An authenticator app for whoever signs in here, and the recovery codes."""
        page = self.page
        page.goto(f"{self.service.url}/account/factors")
        self.sign_in()
        page.click("button:has-text('Set up')")
        app = App(page.inner_text("#key").replace(" ", ""))
        enter(page, "#code", app.code())
        page.wait_for_selector("h1:has-text('Recovery codes')")
        return app, page.locator(".codes li").all_inner_texts()

    def sign_out(self) -> None:
        self.page.goto(f"{self.service.url}/sign-out")
        self.page.click("button.primary")
        self.page.wait_for_selector("h1:has-text('You are signed out')")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_signs_in_agrees_and_signs_out(
    chromium: Any, service: Server, shop: Shop, scripts: bool
) -> None:
    tab = Tab(chromium, service, shop, java_script_enabled=scripts)
    page = tab.page
    tab.ask()
    page.wait_for_selector("h1:has-text('Sign in')")
    tab.sign_in("wrong, but long enough")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#password").get_attribute("aria-invalid") == "true"
    page.fill("#password", ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('asks for access')")
    assert "127.0.0.1" in page.inner_text("main")
    page.click("#agree")
    told = tab.told()
    assert told["state"] == "st-1" and told["iss"] == service.url and told["code"]
    tab.ask(prompt="none")  # agreed to, and signed in
    assert "code" in tab.told()
    page.goto(f"{service.url}/logout")
    page.click("button.primary")
    page.wait_for_selector("h1:has-text('You are signed out')")
    tab.ask(prompt="none")
    assert tab.told()["error"] == "login_required"
    tab.ask(response_mode="form_post", prompt="none")
    if not scripts:
        page.click("button")
    assert tab.told()["error"] == "login_required"
    assert shop.told[-1][0] == "POST" and "?" not in page.url
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_sets_up_an_app_and_shows_its_code_from_then_on(
    chromium: Any, service: Server, shop: Shop, scripts: bool
) -> None:
    tab = Tab(chromium, service, shop, java_script_enabled=scripts)
    page = tab.page
    app, codes = tab.set_up_app()
    assert len(codes) == 10
    tab.sign_out()
    tab.ask(acr_values="aal2")
    tab.sign_in()
    page.wait_for_selector("h1:has-text('Second step')")
    enter(page, "#code", app.wrong())
    page.wait_for_selector("[role=alert]")
    assert page.locator("#code").get_attribute("aria-invalid") == "true"
    page.fill("#code", app.code(1))
    page.keyboard.press("Enter")
    page.click("#agree")
    assert tab.told()["code"]
    page.goto(f"{service.url}/account/factors")
    assert "10 codes are left" in page.inner_text("main")
    tab.sign_out()
    page.goto(f"{service.url}/sign-in")
    tab.sign_in()
    page.click("button:has-text('recovery code')")
    page.wait_for_selector("label:has-text('Recovery code')")
    enter(page, "#code", codes[0])
    page.click("a:has-text('Second factors')")
    assert "9 codes are left" in page.inner_text("main")
    page.click("button:has-text('Remove')")
    page.click("button.primary")
    page.click("button:has-text('Set up an authenticator app')")
    page.wait_for_selector("#key")
    tab.close()


def test_every_page_fits_a_small_phone_in_light_and_dark(
    chromium: Any, service: Server, shop: Shop
) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        seen |= look_at_all(
            Tab(chromium, service, shop, viewport=PHONE, color_scheme=scheme), scheme
        )
    assert len(seen) == 15


def look_at_all(tab: Tab, scheme: str) -> set[str]:
    page, service, seen = tab.page, tab.service, set[str]()

    def look(name: str) -> None:
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], (name, width)
        assert page.evaluate("document.documentElement.lang") == "en", name
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(int(n) for n in ground[4:-1].split(",")[:3]) > 384
        assert light == (scheme == "light"), (name, ground)
        assert page.evaluate(UNNAMED) == 0, name
        seen.add(name)
        if folder := os.environ.get("SCREENS"):
            page.screenshot(path=f"{folder}/{scheme}-{name}.png")

    page.goto(f"{service.url}/authorize?client_id=nobody")
    look("error")
    tab.ask()
    look("sign in")
    tab.sign_in()
    page.wait_for_selector("#agree")
    look("consent")
    tab.ask(prompt="select_account")
    look("choose")
    page.goto(f"{service.url}/device")
    look("device")
    page.goto(str(codes_of(service)["verification_uri_complete"]))
    look("device asks")
    page.click("#agree")
    page.wait_for_selector("h1:has-text('is connected')")
    look("device done")
    page.goto(f"{service.url}/sign-out")
    look("sign out")
    page.click("button.primary")
    page.wait_for_selector("h1:has-text('You are signed out')")
    look("signed out")
    page.goto(f"{service.url}/account/factors")
    tab.sign_in()
    page.wait_for_selector("button:has-text('Set up')")
    look("no second factor")
    page.click("button:has-text('Set up')")
    page.wait_for_selector("#key")
    look("authenticator app")
    enter(page, "#code", App(page.inner_text("#key").replace(" ", "")).code())
    page.wait_for_selector("h1:has-text('Recovery codes')")
    look("recovery codes")
    code = page.locator(".codes li").first.inner_text()
    page.goto(f"{service.url}/account/factors")
    look("second factors")
    tab.sign_out()
    page.goto(f"{service.url}/sign-in")
    tab.sign_in()
    page.wait_for_selector("h1:has-text('Second step')")
    look("second step")
    page.click("button:has-text('recovery code')")
    page.wait_for_selector("label:has-text('Recovery code')")
    page.fill("#code", code)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Your account')")
    page.goto(f"{service.url}/account/factors")
    page.click("button:has-text('Remove')")
    page.wait_for_selector("h1:has-text('Remove')")
    look("remove the app")
    page.click("button.primary")
    page.wait_for_selector("button:has-text('Set up an authenticator app')")
    tab.close()
    return seen


def codes_of(service: Server, **form: str) -> dict[str, Any]:
    """What a device was given."""
    form = {"client_id": "tv", "scope": "openid profile", **form}
    answer = httpx.post(f"{service.url}/device_authorization", data=form)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_allows_a_device_by_its_code(
    chromium: Any, service: Server, shop: Shop, scripts: bool
) -> None:
    tab = Tab(chromium, service, shop, java_script_enabled=scripts)
    page, codes = tab.page, codes_of(service)
    page.goto(codes["verification_uri"])
    page.wait_for_selector("h1:has-text('Sign in')")
    tab.sign_in()
    page.wait_for_selector("h1:has-text('Connect a device')")
    enter(page, "#user_code", "bbbb bbbb")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#user_code").get_attribute("aria-invalid") == "true"
    page.fill("#user_code", codes["user_code"].lower())
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('asks for access on a device')")
    assert codes["user_code"] in page.inner_text("main")
    page.click("#agree")
    page.wait_for_selector("h1:has-text('is connected')")
    form = {
        "client_id": "tv", "grant_type": DEVICE_CODE, "device_code": codes["device_code"],
    }  # fmt: skip
    assert "access_token" in httpx.post(f"{service.url}/token", data=form).json()
    tab.close()


ASKING = """async ({url, form}) => {
    const options = form && {
        method: 'POST', body: new URLSearchParams(form),
        headers: {'DPoP': 'x', 'Authorization': 'Basic dHY6'},
    };
    try {
        const answer = await fetch(url, options);
        return [answer.status, (await answer.json()).error, answer.headers.get('x-request-id')];
    } catch (error) {
        return [0, String(error), null];
    }
}"""


def test_a_page_elsewhere_reads_what_its_client_is_told(
    chromium: Any, service: Server, shop: Shop
) -> None:
    tab = Tab(chromium, service, shop)
    form = {"grant_type": DEVICE_CODE, "device_code": "dc_x"}
    for host, reads in (("127.0.0.1", True), ("localhost", False)):
        tab.page.goto(shop.uri.replace("127.0.0.1", host).replace("callback", "page"))
        told = {"url": f"{service.url}/.well-known/openid-configuration", "form": None}
        assert tab.page.evaluate(ASKING, told)[0] == 200
        told = {"url": f"{service.url}/token", "form": form}
        status, error, request_id = tab.page.evaluate(ASKING, told)
        if reads:
            assert (status, error) == (400, "invalid_dpop_proof") and request_id
        else:
            assert status == 0
        told = {"url": f"{service.url}/users", "form": None}
        assert tab.page.evaluate(ASKING, told)[0] == 0
    assert any("CORS" in problem for problem in tab.problems)
    tab.problems.clear()
    tab.close()
