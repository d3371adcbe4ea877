"""An issuer with a path, `https://host/identity`: every page and endpoint below it, by way of a
proxy that takes the path off. Whatever leads elsewhere, by a link, a form, a script, a style or a
redirect, leads nowhere here."""

import re
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from identity.app import create_app
from tests.acting import Actor, admin
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.oauth.grants.test_device_code import DEVICE_CODE, device_client
from tests.second_factors import App, with_app
from tests.serving import running
from tests.transport import as_served
from tests.world import World, bearer, claims_of, granted

BASE = "/identity"
ISSUER = f"http://127.0.0.1:8000{BASE}"
WELL_KNOWN = re.compile(r"/\.well-known/[a-z-]+" + BASE)
"""Where an issuer's path goes behind the name (RFC 8414 §3.1, RFC 9728 §3.1)."""
LEADS = {"href", "src", "action", "formaction"}


class _Leading(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in LEADS and value]


class Proxy:
    """Passes on what lies below `BASE`, without it; nothing else but the well-known names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = as_served(app)
        self.astray: list[str] = []
        """What was asked for elsewhere, or would be by whoever follows."""
        self.pages = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(f"{BASE}/"):
            inside = path.removeprefix(BASE)
            scope = {**scope, "path": inside, "raw_path": inside.encode()}
        elif not WELL_KNOWN.fullmatch(path):
            self.astray.append(path)
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        self._look(answer)
        for message in answer:
            await send(message)

    def _look(self, answer: list[Message]) -> None:
        headers = {name.decode(): value.decode() for name, value in answer[0]["headers"]}
        leads = [headers["location"]] if "location" in headers else []
        if headers.get("content-type", "").startswith("text/html"):
            self.pages += 1
            reading = _Leading()
            reading.feed(b"".join(message.get("body", b"") for message in answer[1:]).decode())
            leads += reading.found
        ours = urlsplit(ISSUER).netloc
        for address in leads:
            parts = urlsplit(address)
            stays = parts.netloc not in ("", ours) or address.startswith(("#", "?"))
            if not stays and not parts.path.startswith(f"{BASE}/"):
                self.astray.append(address)


@pytest.fixture
async def proxy(make_settings: Callable[..., Any]) -> AsyncIterator[Proxy]:
    app = create_app(make_settings(issuer=ISSUER, first_party_challenge=True))
    async with running(app):
        proxy = Proxy(app)
        proxy.app = app  # type: ignore[attr-defined]
        yield proxy


@pytest.fixture
async def world(proxy: Any) -> AsyncIterator[World]:
    transport = httpx.ASGITransport(app=proxy)
    async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as api:
        yield World(proxy.app, api)
    assert proxy.astray == []


@pytest.fixture
def flow(world: World) -> Flow:
    settings = {"post_logout_redirect_uris": [CALLBACK]}
    return Flow(world, code_client(world, **settings))


async def test_signing_in_agreeing_and_signing_out(world: World, flow: Flow, proxy: Proxy) -> None:
    world.user("ada")
    browser = Browser(world.api)
    page, verifier = await flow.start(browser)
    assert str(page.answer.url).startswith(f"{ISSUER}/sign-in?")
    page = await browser.sign_in(page, password="wrong")
    assert page.status == 422 or "wrong" in page.text.lower()
    page = await browser.sign_in(page)
    assert str(page.answer.url).startswith(f"{ISSUER}/consent?")
    page = await browser.submit(page, "agree")
    assert page.sent_to["iss"] == ISSUER
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert claims_of(tokens["id_token"])["iss"] == ISSUER
    assert claims_of(tokens["access_token"])["status"]["status_list"]["uri"].startswith(ISSUER)
    about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert about.status_code == 200
    for prompt in ("login", "select_account", "consent"):
        page, _ = await flow.start(browser, prompt=prompt)
        assert page.status == 200 and page.forms
    page = await browser.get("/logout", params={"client_id": "shop"})
    page = await browser.submit(page)
    assert page.title.startswith("Signed out")
    assert proxy.pages >= 7


async def test_answers_as_forms_and_the_pages_of_errors(world: World, flow: Flow) -> None:
    world.user("ada")
    browser = Browser(world.api)
    page, _ = await flow.start(browser, response_mode="form_post", response_type="token")
    assert page.form.action == CALLBACK and page.form.fields["iss"] == ISSUER
    for address in ("/authorize", "/authorize?client_id=nobody", "/consent", "/logout?state"):
        assert (await browser.get(address)).status in (200, 400)
    page, _ = await flow.start(browser, redirect_uri="https://evil.example/")
    assert page.status == 400 and "location" not in page.answer.headers


async def test_a_device(world: World) -> None:
    world.user("ada")
    tv, browser = device_client(world), Browser(world.api)
    told = granted(
        await world.api.post("/device_authorization", data={**tv.post, "scope": "openid"})
    )
    assert told["verification_uri"] == f"{ISSUER}/device"
    page = await browser.get(told["verification_uri_complete"])
    page = await browser.sign_in(page)
    page = await browser.submit(page, "agree")
    assert page.status == 200
    form = {"grant_type": DEVICE_CODE, "device_code": told["device_code"]}
    assert granted(await world.token(tv, **form))["access_token"]


async def test_second_factors_and_the_account(world: World, flow: Flow) -> None:
    _, app = with_app(world, "eve")
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), "eve")
    page = await browser.submit(page, "another")
    page = await browser.submit(page, code=app.recovery_codes[0])
    assert page.status == 200
    page = await browser.get("/account/factors")
    assert page.status == 200 and page.forms
    world.user("ada")
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/account/factors"))
    assert page.answer.url.path == f"{BASE}/account/factors"
    assert isinstance(app, App)


async def test_programs(world: World, flow: Flow) -> None:
    """Metadata, the API and the challenges of what is not allowed."""
    for name in ("openid-configuration", "oauth-authorization-server"):
        inserted = await world.api.get(f"http://127.0.0.1:8000/.well-known/{name}{BASE}")
        before = await world.api.get(f"/.well-known/{name}")
        assert inserted.json() == before.json()
        for member, value in before.json().items():
            if member.endswith(("_endpoint", "_uri", "_documentation")):
                assert value.startswith(f"{ISSUER}/"), member
    challenge = (await world.api.get("/users/me")).headers["www-authenticate"]
    (told,) = re.findall(r'resource_metadata="([^"]+)"', challenge)
    assert told == f"http://127.0.0.1:8000/.well-known/oauth-protected-resource{BASE}"
    assert (await world.api.get(told)).json()["resource"] == ISSUER
    boss: Actor = await admin(world)
    made = await boss("POST", "/users", {"username": "eve", "password": "tangerine harbour 72"})
    assert made.headers["location"].startswith(f"{ISSUER}/users/")
    assert (await boss("GET", made.headers["location"])).status_code == 200
    for page in ("/docs", "/redoc"):
        shown = await world.api.get(page)
        assert f"{BASE}/openapi.json" in shown.text
        for script in re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', shown.text):
            assert (await world.api.get(f"http://127.0.0.1:8000{script}")).status_code == 200
    document = (await world.api.get("/openapi.json")).json()
    assert document["servers"] == [{"url": BASE}]
