"""Whatever somebody asks of the pages' addresses: never a 5xx, never a way to where nobody has
registered, and never a word of the request that is not text on the page. Drawn by a seed that a
failure names; and all of it below a path, as an issuer may have one."""

import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from identity.app import create_app
from tests.attacks.test_redirects import DISGUISED, ELSEWHERE, MISSPELLED
from tests.browsing import CALLBACK, Browser, Flow, code_client, verifier_and_challenge
from tests.proofs import WHOLE
from tests.serving import running
from tests.transport import served
from tests.world import World, bearer

MARKUP = "<script>x()</script>"
OURS = ("/authorize", "/sign-in", "/consent", "/sign-out", "/logout", "/account")
TIMES = 3_000 if WHOLE else 250
ODD = [
    "", " ", "x", "\u2028", "ü", "\x7f", "\r\n", "%0d%0a", "null", "-1", "0", "9" * 20,
    "{}", "[]", '{"id_token": {"sub": {"value": 1}}}', '{"userinfo": null}', "{" * 50, '{"a":NaN}',
    MARKUP, f'"{MARKUP}', "none", "login consent", "S256", "plain", "code", "code token", "openid",
    "openid *", "*", "query", "form_post", "fragment", "a.b.c", "eyJhbGciOiJub25lIn0.e30.",
    "x" * 3000,
]  # fmt: skip
NAMES = [
    "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method", "response_mode", "prompt", "max_age", "login_hint", "id_token_hint",
    "ui_locales", "acr_values", "claims", "display", "resource", "request", "request_uri", "mark",
    "registration", "to", "post_logout_redirect_uri", "username", "password", "answer", "act",
    "user", "shown", "new_password", "error", "", "é",
]  # fmt: skip


def drawn(chance: random.Random, flow: Flow, known: dict[str, str]) -> list[tuple[str, str]]:
    """A good request, some of it changed, left out, added to, or said twice."""
    _, challenge = verifier_and_challenge()
    said: dict[str, str] = {
        "response_type": "code", "client_id": flow.client.id, "redirect_uri": CALLBACK,
        "scope": "openid email", "state": "st", "code_challenge": challenge,
        "code_challenge_method": "S256", **known,
    }  # fmt: skip
    pairs = [pair for pair in said.items() if chance.random() > 0.05]
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5))):
        name = chance.choice(NAMES)
        value = chance.choice([*ODD, *DISGUISED, *MISSPELLED, *ELSEWHERE])
        if name == "redirect_uri" or chance.random() < 0.8:
            pairs = [pair for pair in pairs if pair[0] != name]
        pairs.append((name, value))
    chance.shuffle(pairs)
    return pairs


def assert_harmless(answer: httpx.Response, said: object) -> None:
    assert answer.status_code < 500, said
    assert MARKUP not in answer.text, said
    location = answer.headers.get("location")
    if location is not None:
        where = urlsplit(location)
        assert location.isprintable() and " " not in location and "\\" not in location, said
        if where.netloc or where.scheme:
            assert location.startswith((f"{CALLBACK}?", f"{CALLBACK}#")), said
        else:
            assert where.path in OURS, said
    elif b"<form" in answer.content and "document.forms" in answer.text:
        assert f'action="{CALLBACK}"' in answer.text, said


@pytest.mark.proof
@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_no_request_does_what_it_should_not(world: World, signed_in: bool) -> None:
    seed = int(os.environ.get("SEED", secrets.randbits(32)))
    chance = random.Random(seed)
    world.user("ada")
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    known: dict[str, str] = {}
    if signed_in:
        known["id_token_hint"] = (await flow.tokens(browser))["id_token"]
    said = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
    for n in range(TIMES):
        pairs = drawn(chance, flow, known if chance.random() < 0.3 else {})
        query = urlencode(pairs)
        way = chance.choice(("authorize", "post", "sign-in", "consent", "logout", "sign-out"))
        if way == "authorize":
            answer = await browser._api.get(f"/authorize?{query}")
        elif way == "post":
            headers = {**said, "content-type": "application/x-www-form-urlencoded"}
            answer = await browser._api.post("/authorize", content=query, headers=headers)
        elif way == "logout":
            answer = await browser._api.get(
                f"/logout?{urlencode([p for p in pairs if p[0] != 'id_token_hint'])}"
            )
        else:
            to = chance.choice(
                (f"/authorize?{query}", chance.choice(ELSEWHERE), f"/authorize?{query}#x")
            )
            form = dict(drawn(chance, flow, {}))
            address = f"/{way}?{urlencode({'to': to})}"
            if chance.random() < 0.5 or way == "sign-out":
                answer = await browser._api.get(address)
            else:
                answer = await browser._api.post(address, data=form, headers=said)
        assert_harmless(answer, (seed, n, way, pairs))


class Below(httpx.AsyncBaseTransport):
    """A proxy that takes `/realm` off, and has nothing beside it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path
        assert path.startswith(b"/realm/"), path
        request.url = request.url.copy_with(raw_path=path.removeprefix(b"/realm"))
        return await self._inner.handle_async_request(request)


@pytest.fixture
async def below(make_settings: Callable[..., Any]) -> AsyncIterator[World]:
    app = create_app(make_settings(issuer="https://id.example/realm"))
    asking = httpx.AsyncClient(transport=Below(served(app)), base_url="https://id.example/realm")
    async with running(app), asking:
        yield World(app, asking)


async def test_everything_stays_below_the_path_of_the_issuer(below: World) -> None:
    below.user("ada", email="ada@example.com")
    flow = Flow(below, code_client(below, post_logout_redirect_uris=["https://shop.example/bye"]))
    browser = Browser(below.api)
    browser.origin = "https://id.example"
    parameters, verifier = flow.parameters(prompt="select_account")
    page = await browser.get(f"/authorize?{urlencode(parameters)}")
    assert urlsplit(str(page.answer.url)).path.endswith("/sign-in")
    page = await browser.sign_in(page)
    page = await browser.submit(page, "choose")
    for name in ("style.css", "icon.svg"):
        (at,) = {part for part in page.answer.text.split('"') if name in part}
        assert at.startswith("/realm/static/")
    page = await browser.submit(page, "agree")
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    assert page.sent_to["iss"] == "https://id.example/realm"
    answer = await below.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert answer.json()["email"] == "ada@example.com"
    page = await browser.get(
        "/logout?client_id=shop&post_logout_redirect_uri=https://shop.example/bye"
    )
    assert page.title.startswith("Sign out")
    page = await browser.submit(page)
    assert page.answer.headers["location"] == "https://shop.example/bye"
    page = await browser.get("/sign-in?" + urlencode({"to": "/authorize?x=y"}))
    assert page.status == 400  # beside the path
    elsewhere = {"origin": "https://evil.example"}
    answer = await browser._api.post("/authorize", data=parameters, headers=elsewhere)
    assert answer.headers["location"].startswith("/realm/authorize?")
