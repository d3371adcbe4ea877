"""Browsers that somebody else steers: forms from elsewhere, cookies that were planted, pages in
frames, addresses fed to whom they were not made for."""

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from identity.app import create_app
from tests import acting
from tests.attacks.rules import without
from tests.browsing import Browser, Flow, Page, code_client
from tests.oauth.authorize.test_requests import told
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, World, claims_of

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])
ELSEWHERE = [
    {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
    {"sec_fetch_site": "same-site", "origin": "http://evil.localhost"},
    {"sec_fetch_site": "cross-site", "origin": "null"},
]
"""What browsers say of a form that is not ours. `same-site`: a sibling's page was taken over."""
MARKS = "identity.authentication.marks:Marks"
GUARD = "identity.pages.registry:Door._guard"


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada", email="ada@example.com")
    world.user("eve")
    return Flow(world, code_client(world))


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


async def sign_in(browser: Browser, name: str = "ada") -> None:
    """Whoever is there already."""
    form = {"username": name, "password": PASSWORD}
    assert (await browser.post("/sign-in", form)).title.startswith("Your account")


async def signed_in(world: World, name: str = "ada") -> Browser:
    browser = Browser(world.api)
    await sign_in(browser, name)
    return browser


async def who(world: World, browser: Browser) -> str | None:
    """Who is signed in, as an application of our own hears it."""
    flow = Flow(world, code_client(world, secrets.token_hex(4), first_party=True))
    page, verifier = await flow.start(browser, prompt="none")
    if "code" not in page.sent_to:
        told(page, "login_required")
        return None
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    name: str = claims_of(tokens["access_token"])["username"]
    return name


# --- Forms from elsewhere ---------------------------------------------------------------------


@without(GUARD, "if elsewhere:", "if False:")
async def test_a_form_elsewhere_signs_nobody_in_or_out_and_agrees_to_nothing(
    flow: Flow, browser: Browser
) -> None:
    """A victim who is signed in as the attacker types secrets into the attacker's account."""
    world = flow.world
    for said in ELSEWHERE:
        eve = {"username": "eve", "password": PASSWORD}
        assert (await browser.post("/sign-in", eve, **said)).status == 403
        assert "identity" not in browser.cookies
    page, _ = await flow.start(browser)
    page = await browser.sign_in(page)
    for said in ELSEWHERE:
        answer = await browser.post(str(page.answer.url), {"answer": "agree"}, **said)
        assert answer.status == 403 and "location" not in answer.answer.headers
        assert (await browser.post("/sign-out", {}, **said)).status == 403
    # And no browser's silence about where it was is taken for a word of ours.
    for path in (str(page.answer.url), "/sign-out", "/sign-in"):
        answer = await browser._api.post(path, data={"answer": "agree"})
        assert answer.status_code == 403
    assert await who(world, browser) == "ada"
    assert await world.events("consent.granted") == []


@without(
    "identity.oauth.authorize.endpoint:Authorize._answered",
    'if request.scope["method"] == "POST" and from_elsewhere(request, self._origin):',
    "if False:",
)
async def test_a_request_posted_from_elsewhere_becomes_one_by_get(
    flow: Flow, browser: Browser
) -> None:
    parameters, _ = flow.parameters(state="a b&c=ü")
    for said in ELSEWHERE:
        headers = {name.replace("_", "-"): value for name, value in said.items()}
        answer = await browser._api.post("/authorize", data=parameters, headers=headers)
        assert answer.status_code == 303 and "set-cookie" not in answer.headers
        where = urlsplit(answer.headers["location"])
        assert (where.netloc, where.path) == ("", "/authorize")
        assert dict(parse_qsl(where.query)) == parameters


# --- What was made for another browser, or another person ---------------------------------------


@without(f"{MARKS}._sealed", 'said = f"{plain}\\n{digest(browser)}\\n".encode()',
         'said = f"{plain}\\n\\n".encode()')  # fmt: skip
async def test_the_address_of_a_consent_page_is_worth_nothing_in_another_browser(
    flow: Flow,
) -> None:
    """CVE-2026-7507: what the attacker began, the victim ends."""
    attacker, victim = Browser(flow.world.api), await signed_in(flow.world)
    await flow.start(victim)  # so that its browser is known by a cookie of its own
    page = await attacker.sign_in((await flow.start(attacker))[0], "eve")
    fed = str(page.answer.url)
    marks = []
    answer = await victim.post(fed, {"answer": "agree"})
    assert "location" not in answer.answer.headers and answer.title.startswith("Allow access")
    for address in (fed, str(answer.answer.url)):
        back = dict(parse_qsl(urlsplit(address).query))["to"]
        marks.append(dict(parse_qsl(urlsplit(back).query))["mark"])
    assert marks[0] != marks[1]  # asked by a page of its own browser


@without(f"{MARKS}.open", "if hmac.compare_digest(again, found[0]):", "if True:")
async def test_nobody_makes_a_mark_that_says_what_was_done(flow: Flow) -> None:
    browser = await signed_in(flow.world)
    for seen in ("0", f"{10**12:x}", "ffffffffffff"):
        for prompt in ("login", "select_account"):
            for mark in (f"{seen}.chosen.{'A' * 43}", f"{seen}..{'A' * 43}"):
                page, _ = await flow.start(browser, prompt=prompt, mark=mark)
                assert page.title.startswith(("Sign in", "Choose an account"))
    page, _ = await flow.start(browser, prompt="login")
    back = dict(parse_qsl(urlsplit(str(page.answer.url)).query))["to"]
    mine = dict(parse_qsl(urlsplit(back).query))["mark"]
    seen, done, seal = mine.split(".")
    for mark in (f"{int(seen, 16) - 3_000_000:x}.{done}.{seal}", f"{seen}.chosen.{seal}"):
        page, _ = await flow.start(browser, prompt="login", mark=mark)
        assert page.title.startswith("Sign in")


# --- Cookies ------------------------------------------------------------------------------------


BEGIN = "identity.authentication.browser:sign_in"


@without(
    BEGIN, '"digest": digest(cookie),', '"digest": before.digest if before else digest(cookie),'
)
async def test_a_cookie_from_before_signing_in_is_worth_nothing_after_it(flow: Flow) -> None:
    """Fixation: the attacker knows the cookie of the browser in which the victim signs in."""
    world = flow.world
    for planted in ("bs_" + "A" * 43, (await signed_in(world, "eve")).cookies["identity"]):
        victim, attacker = Browser(world.api), Browser(world.api)
        for each in (victim, attacker):
            each.cookies.set("identity", planted, domain="127.0.0.1", path="/")
        await sign_in(victim)
        assert victim.cookies["identity"] != planted
        assert await who(world, victim) == "ada"
        assert await who(world, attacker) is None
    # A new one at every rise in privilege, and the old one is dead at once.
    browser, thief = await signed_in(world), Browser(world.api)
    thief.cookies.set("identity", browser.cookies["identity"], domain="127.0.0.1", path="/")
    assert await who(world, thief) == "ada"
    await browser.sign_in((await flow.start(browser, prompt="login"))[0])
    assert await who(world, thief) is None and await who(world, browser) == "ada"


@without(BEGIN, 'end(work, before.id, "another person signed in")', "pass")
async def test_who_signs_in_at_anothers_browser_ends_what_that_one_had(flow: Flow) -> None:
    world = flow.world
    own = Flow(world, code_client(world, "own", first_party=True))
    browser = await signed_in(world, "eve")
    eves = await own.tokens(browser)
    await sign_in(browser, "ada")
    assert await who(world, browser) == "ada"
    assert not await world.active(eves["access_token"])
    assert (await world.refresh(eves["refresh_token"], own.client)).status_code == 400


async def test_no_session_has_the_id_of_one_before(flow: Flow) -> None:
    """CVE-2025-12390."""
    world = flow.world
    own = Flow(world, code_client(world, "own", first_party=True))
    browser, seen = Browser(world.api), set()
    for name in ("ada", "eve", "ada"):
        page, verifier = await own.start(browser)
        page = await browser.sign_in(page, name)
        tokens = (await own.redeem(page.sent_to["code"], verifier)).json()
        seen |= {claims_of(tokens["id_token"])["sid"], browser.cookies["identity"]}
        await browser.submit(await browser.get("/sign-out"))
        assert await who(world, browser) is None
    assert len(seen) == 6


async def test_no_junk_for_a_cookie_is_anybody_or_breaks_anything(flow: Flow) -> None:
    api, (parameters, _) = flow.world.api, flow.parameters(prompt="none")
    for junk in (
        b"",
        b"\xff\xfe",
        b"bs_" + b"A" * 4000,
        b"'; DROP TABLE x; --",
        b"=",
        b"a=b",
        b'"',
    ):
        for name in (b"identity", b"identity-browser"):
            headers = [(b"cookie", b"%b=%b; %b=%b" % (name, junk, name, junk))]
            answer = await api.get(f"/authorize?{urlencode(parameters)}", headers=headers)
            assert answer.status_code == 303 and "login_required" in answer.headers["location"]
            assert (await api.get("/sign-in", headers=headers)).status_code == 200


@pytest.fixture
async def https(make_settings: Callable[..., Any]) -> AsyncIterator[World]:
    """The service behind TLS, below a path."""
    app = create_app(make_settings(issuer="https://id.example/realm"))
    asking = httpx.AsyncClient(transport=served(app), base_url="https://id.example")
    async with running(app), asking:
        yield World(app, asking)


@without("identity.http.cookies:Cookies.name",
         'f"__Host-{cookie}" if self.secure else cookie', "cookie")  # fmt: skip
async def test_no_neighbour_sets_our_cookies(https: World) -> None:
    """A page at another host of the domain may set `identity`, not `__Host-identity`."""
    https.user("ada")
    headers = {"origin": "https://id.example", "sec-fetch-site": "same-origin"}
    form = {"username": "ada", "password": PASSWORD}
    answer = await https.api.post("/sign-in", data=form, headers=headers)
    (line,) = answer.headers.get_list("set-cookie")
    assert line.startswith("__Host-identity=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(line.split("; "))
    assert "Domain" not in line
    tossed = line.partition("=")[2].partition(";")[0]
    flow = Flow(https, code_client(https, first_party=True))
    asked = urlencode(flow.parameters(prompt="none")[0])
    for name, error in (("identity", True), ("__Host-identity", False)):
        cookie = {"cookie": f"{name}={tossed}"}
        https.api.cookies.clear()
        answer = await https.api.get(f"/authorize?{asked}", headers=cookie)
        assert ("login_required" in answer.headers["location"]) is error


@without("identity.pages.signing_in:SigningIn.post",
         'if still_due == "new password":', "if False:")  # fmt: skip
async def test_a_one_time_password_signs_nobody_in_before_another_is_set(world: World) -> None:
    """CVE-2026-18963: whoever had the first step skipped the second."""
    world.user("ada", must_change_password=True)
    flow = Flow(world, code_client(world, first_party=True))
    for fields in ({}, {"new_password": PASSWORD}, {"act": "change"}, {"new_password": "short"},
                   {"act": "choose"}, {"act": "another"}):  # fmt: skip
        browser = Browser(world.api)
        page, _ = await flow.start(browser)
        form = {"username": "ada", "password": PASSWORD, **fields}
        page = await browser.post(str(page.answer.url), form)
        assert page.status < 500 and "location" not in page.answer.headers, fields
        assert "identity" not in browser.cookies
        told((await flow.start(browser, prompt="none"))[0], "login_required")


async def test_whom_an_administrator_gives_another_password_is_signed_out_everywhere(
    flow: Flow,
) -> None:
    world = flow.world
    browser, boss = await signed_in(world), await acting.admin(world)
    assert await who(world, browser) == "ada"
    sub = claims_of((await flow.tokens(browser))["id_token"])["sub"]
    await boss.done("POST", f"/users/{sub}/password")
    assert await who(world, browser) is None


# --- Pages ----------------------------------------------------------------------------------


async def every_page(flow: Flow, browser: Browser) -> AsyncIterator[Page]:
    yield await browser.get("/authorize?client_id=nobody")
    page, _ = await flow.start(browser)
    yield page
    yield await browser.sign_in(page, "eve", "wrong, but long enough")
    page = await browser.sign_in(page)
    yield page
    yield await browser.get("/sign-in")
    yield (await flow.start(browser, prompt="select_account"))[0]
    yield (await flow.start(browser, prompt="none", response_mode="form_post"))[0]
    yield await browser.get("/sign-out")
    yield await browser.submit(await browser.get("/sign-out"))


async def test_no_page_is_shown_in_a_frame_or_kept(flow: Flow, browser: Browser) -> None:
    """Clickjacking: somebody clicks what lies invisibly above something else."""
    titles = set()
    async for page in every_page(flow, browser):
        titles.add(page.title)
        said = page.answer.headers
        assert said["x-frame-options"] == "DENY", page.title
        policy = dict(each.strip().partition(" ")[::2] for each in
                      said["content-security-policy"].split(";"))  # fmt: skip
        assert policy["frame-ancestors"] == "'none'" and policy["default-src"] == "'none'"
        assert policy["base-uri"] == "'none'" and "unsafe" not in said["content-security-policy"]
        assert said["cache-control"] == "no-store" and said["x-content-type-options"] == "nosniff"
        assert said["referrer-policy"] == "same-origin"
    assert len(titles) >= 6, titles


@without(
    "identity.pages.rendering:_is_web",
    "uri is not None and uris.web_problem(uri) is None",
    "bool(uri)",
)
async def test_nothing_that_others_write_is_markup_on_a_page(world: World) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x>"
    world.user("ada", name=evil)
    client = code_client(world, name=evil, policy_uri="javascript:alert(1)")
    flow, browser = Flow(world, client), Browser(world.api)
    with world.change() as session:
        from identity.directory.access.table import Scope

        session.add(Scope(name="shop:read", description=evil))
    shown = []
    page, _ = await flow.start(browser, login_hint=evil, ui_locales=evil, state=evil)
    shown.append(page)
    page = await browser.sign_in(page)
    shown.append(page)
    shown.append(await browser.get("/sign-out?" + urlencode({"state": evil, "client_id": evil})))
    shown.append(await browser.get(f"/authorize?{urlencode({'client_id': evil})}"))
    shown.append(await browser.post("/sign-in", {"username": evil, "password": evil}))
    for page in shown:
        assert "javascript:" not in page.answer.text
        assert "<script>" not in page.answer.text and "<img src=x" not in page.answer.text
