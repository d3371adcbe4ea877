"""A person's browser without a window: it keeps cookies, follows redirects within the service,
reads the forms of its pages and says where they were, as browsers do."""

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import httpx

from identity.directory.clients.table import Client
from tests.world import PASSWORD, Caller, World

CALLBACK = "https://shop.example/callback"
CODE_GRANTS = ("authorization_code", "refresh_token")


def verifier_and_challenge() -> tuple[str, str]:
    """Of PKCE (RFC 7636 §4)."""
    verifier = secrets.token_urlsafe(48)
    digest = sha256(verifier.encode()).digest()
    return verifier, urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Form:
    action: str
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)
    """(name, value, words)."""


class _Reading(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.title = ""
        self.text: list[str] = []
        self._in: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self._in = tag
        if tag == "form":
            self.forms.append(Form(said.get("action", ""), said.get("method", "get").lower()))
        elif tag == "input" and "name" in said:
            self.forms[-1].fields[said["name"]] = said.get("value", "")
        elif tag == "button" and self.forms:
            self.forms[-1].buttons.append((said.get("name", ""), said.get("value", ""), ""))

    def handle_data(self, data: str) -> None:
        if self._in == "title":
            self.title += data
        elif self._in not in ("style", "script") and data.strip():
            self.text.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        self._in = None


class Page:
    """What the browser shows."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.status = answer.status_code
        reading = _Reading()
        if answer.headers.get("content-type", "").startswith("text/html"):
            reading.feed(answer.text)
        self.forms = reading.forms
        self.title = reading.title
        self.text = " ".join(reading.text)

    @property
    def form(self) -> Form:
        assert len(self.forms) == 1, self.answer.text
        return self.forms[0]

    @property
    def sent_to(self) -> dict[str, str]:
        """What the client was told by a redirect."""
        location = self.answer.headers["location"]
        pairs = parse_qsl(urlsplit(location).query, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs), location
        return dict(pairs)


class Browser:
    def __init__(self, api: httpx.AsyncClient) -> None:
        self._api = httpx.AsyncClient(transport=api._transport, base_url=api.base_url)
        self._base = str(api.base_url).rstrip("/")
        self.origin = self._base.removesuffix(api.base_url.path.rstrip("/"))

    @property
    def cookies(self) -> httpx.Cookies:
        return self._api.cookies

    async def get(self, address: str, **options: Any) -> Page:
        return await self._follow(await self._api.get(address, **options))

    async def post(self, address: str, form: dict[str, str], **headers: str) -> Page:
        said = {"origin": self.origin, "sec-fetch-site": "same-origin", **headers}
        answer = await self._api.post(
            address, data=form, headers={name.replace("_", "-"): v for name, v in said.items()}
        )
        return await self._follow(answer)

    async def submit(self, page: Page, button: str | None = None, **fields: str) -> Page:
        """Fill in the page's form and press `button`, named by its value."""
        form = page.form
        pressed = {name: value for name, value, _ in form.buttons if value == button and name}
        assert button is None or pressed, f"no button {button}"
        assert set(fields) <= set(form.fields), form
        address = urljoin(str(page.answer.url), form.action)
        return await self.post(address, form.fields | fields | pressed)

    async def _follow(self, answer: httpx.Response) -> Page:
        """Within the service; where a client is told something, that is the end."""
        for _ in range(10):
            location = answer.headers.get("location", "")
            target = urljoin(str(answer.url), location)
            if answer.status_code != 303 or not target.startswith(f"{self._base}/"):
                return Page(answer)
            answer = await self._api.get(target)
        raise AssertionError("sent around in circles")

    async def sign_in(self, page: Page, username: str = "ada", password: str = PASSWORD) -> Page:
        return await self.submit(page, username=username, password=password)


@dataclass
class Flow:
    """A client that sends people to `/authorize`, and gets tokens for what comes back."""

    world: World
    client: Caller
    redirect_uri: str = CALLBACK

    def parameters(self, **changed: str | None) -> tuple[dict[str, str], str]:
        """The request and the PKCE verifier that belongs to it."""
        verifier, challenge = verifier_and_challenge()
        chosen: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile email",
            "state": secrets.token_urlsafe(9),
            "nonce": secrets.token_urlsafe(9),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        return {name: value for name, value in chosen.items() if value is not None}, verifier

    async def start(self, browser: Browser, **changed: str | None) -> tuple[Page, str]:
        parameters, verifier = self.parameters(**changed)
        return await browser.get(f"/authorize?{urlencode(parameters)}"), verifier

    async def redeem(self, code: str, verifier: str | None, **form: str) -> httpx.Response:
        said = {"grant_type": "authorization_code", "code": code, **form}
        if verifier is not None:
            said["code_verifier"] = verifier
        said.setdefault("redirect_uri", self.redirect_uri)
        return await self.world.token(self.client, **said)

    async def signed_in(self, browser: Browser, **changed: str | None) -> tuple[str, str]:
        """A code for somebody who signs in and agrees where they are asked, and its verifier."""
        page, verifier = await self.start(browser, **changed)
        if "sign-in" in str(page.answer.url):
            page = await browser.sign_in(page)
        if "consent" in str(page.answer.url):
            page = await browser.submit(page, "agree")
        return page.sent_to["code"], verifier

    async def tokens(self, browser: Browser, **changed: str | None) -> dict[str, Any]:
        code, verifier = await self.signed_in(browser, **changed)
        answer = await self.redeem(code, verifier)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document


def code_client(
    world: World, client_id: str = "shop", *, public: bool = False, **settings: Any
) -> Caller:
    """A client that may use the code grant; `settings` are RFC 7591's."""
    scopes = settings.pop("scopes", ("*",))
    audiences = settings.pop("audiences", ())
    settings.setdefault("redirect_uris", [CALLBACK])
    caller = world.client(
        client_id, public=public, grants=CODE_GRANTS, scopes=scopes, audiences=audiences
    )
    world.change_client(client_id, settings=settings, name=settings.pop("name", "The Shop"))
    return caller


def query_of(address: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(address).query)


__all__ = ["CALLBACK", "Browser", "Client", "Flow", "Form", "Page", "code_client"]
