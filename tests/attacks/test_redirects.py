"""Where a browser is sent: never where nobody has registered, whatever the address looks like to
one parser or another."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from identity.oauth.authorize.response_modes import RESPONSE_MODES
from tests import acting
from tests.acting import pointers
from tests.attacks.rules import without
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.world import World

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])
REQUEST = "identity.oauth.authorize.request"
URIS = "identity.directory.uris"
LOGOUT = "identity.oauth.logout:Logout"
AFTER = "https://shop.example/bye"
DISGUISED = [
    "https://shop.example/callback/..;/steal",  # CVE-2026-3872: a prefix is no match
    "https://shop.example/callback/../steal",
    "https://shop.example/callback/%2e%2e/steal",
    "https://shop.example/callback%2f..%2fsteal",
    "https://shop.example/callback/",
    "https://shop.example/callbacks",
    "https://shop.example/callback?next=https://evil.example",
    "https://shop.example.evil.example/callback",
    "https://app.shop.example/callback",
    "https://shop.example:8443/callback",
    "https://evil.example/callback",
    "https://evil.example/?https://shop.example/callback",
    "http://shop.example/callback",
]
"""What some server has taken for `CALLBACK`, all of it good addresses of somebody's."""
MISSPELLED = [
    "https://shop.example@evil.example/callback",  # CVE-2026-7504: several `@` fool parsers
    "https://a@b@shop.example/callback",
    "https://shop.example\\@evil.example/callback",
    "https://evil.example#@shop.example/callback",
    "https://shop.example*",  # Keycloak 48430: no wildcards
    "https://*.example/callback",
    "JaVaScRiPt:alert(document.cookie)",  # CVE-2026-9086
    "jAvAsCrIpT://shop.example/%0aalert(1)",
    "javascript:alert(1)",
    "DATA:text/html,<script>alert(1)</script>",
    "vbscript:msgbox",
    "file:///etc/passwd",
    "//shop.example/callback",
    "https:shop.example/callback",
    "https://shop.example/callback#fragment",
    "https://shop.example/callback\r\nset-cookie: identity=theirs",
    "https://shop.example/call\tback",
]
"""What must not be registered, nor be used where it is."""


def assert_stays(page: Page) -> None:
    assert page.status == 400, (page.status, page.answer.headers.get("location"))
    assert "location" not in page.answer.headers and page.forms == []


@without(
    f"{REQUEST}:addressed", "if not uris.is_registered(redirect_uri, registered):", "if False:"
)
async def test_no_address_but_a_registered_one_is_sent_anything_in_any_mode(world: World) -> None:
    """GHSA-9vm7-v8wj-3fqw: the modes had paths of their own; errors of `prompt=none` were sent
    before the address was checked."""
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    for asked in (*DISGUISED, *MISSPELLED):
        for mode in (*RESPONSE_MODES, "web_message"):
            for more in ({}, {"prompt": "none"}, {"scope": 'wrong"'}):
                page, _ = await flow.start(browser, redirect_uri=asked, response_mode=mode, **more)
                assert_stays(page)


@without(f"{REQUEST}:addressed", "if uris.redirect_problem(redirect_uri) is not None:", "if False:")
async def test_an_address_that_was_registered_before_the_rules_is_not_used(world: World) -> None:
    for n, old in enumerate((*MISSPELLED, f"{CALLBACK}?code=mine")):
        client = code_client(world, f"old-{n}", redirect_uris=[old], first_party=True)
        flow, browser = Flow(world, client, old), Browser(world.api)
        for mode in RESPONSE_MODES:
            page, _ = await flow.start(browser, prompt="none", response_mode=mode)
            assert_stays(page)


@without(f"{URIS}:_reserved", "if taken := sorted(names & RESERVED):", "if taken := []:")
async def test_no_registered_query_brings_what_an_answer_brings(world: World) -> None:
    """CVE-2026-9689, CVE-2026-18209: the client reads the first `code` it finds."""
    boss = await acting.admin(world)
    for name in ("code", "state", "iss", "c%6Fde"):
        for uri in (f"{CALLBACK}?{name}=mine", f"{CALLBACK}?a=b&{name}", f"{CALLBACK}?a;{name}=x"):
            wanted = {"id": "evil", "grant_types": ["authorization_code"], "redirect_uris": [uri]}
            answer = await boss("POST", "/clients", wanted)
            assert pointers(answer) == {"/redirect_uris/0"}, uri
            client = code_client(world, f"old-{quote(uri, safe='')}"[:60], redirect_uris=[uri])
            assert_stays((await Flow(world, client, uri).start(Browser(world.api)))[0])
            world.delete_client(client.id)


URI_FIELDS = (
    "redirect_uris", "post_logout_redirect_uris", "initiate_login_uri", "client_uri", "logo_uri",
    "policy_uri", "tos_uri",
)  # fmt: skip


@without(
    f"{URIS}:_not_web",
    'if parts is None or (parts.scheme == "http" and parts.host not in LOCAL):',
    "if False:",
)
async def test_no_field_takes_a_scheme_that_is_not_one_of_ours(world: World) -> None:
    """CVE-2026-9086: a list of what is allowed, on every field, whatever its letters."""
    code_client(world)
    boss = await acting.admin(world)
    for field in URI_FIELDS:
        for uri in (
            "JaVaScRiPt:alert(1)",
            "javascript://shop.example/%0aalert(1)",
            "data:text/html,x",
            "HTTPS://shop.example/",
            "https://SHOP.example/",
            "http://shop.example/",
            "ftp://shop.example/",
        ):
            many = field.endswith("uris")
            answer = await boss("PATCH", "/clients/shop", {field: [uri] if many else uri})
            assert pointers(answer) == {f"/{field}/0" if many else f"/{field}"}, (field, uri)


@without(
    f"{URIS}:_floating",
    "return parts._replace(port=None)",
    'return parts._replace(port=None, rest="")',
)
async def test_nothing_floats_but_the_port_of_an_address_that_is_the_machine_itself(
    world: World,
) -> None:
    """CVE-2024-8883."""
    registered = ["http://127.0.0.1/cb", "http://localhost:7000/cb"]
    client = code_client(world, public=True, redirect_uris=registered)
    flow, browser = Flow(world, client), Browser(world.api)
    for asked in (
        "http://127.0.0.1:9/steal",
        "http://127.0.0.1:9/cb?x=1",
        "http://127.0.0.1:9/cb/..;/steal",
        "http://127.0.0.1.evil.example:9/cb",
        "http://127.0.0.1:9@evil.example/cb",
        "http://127.0.0.1:x@evil.example/cb",
        "http://127.0.0.1:99999/cb",
        "http://0x7f.1:9/cb",
        "http://2130706433/cb",
        "http://[::ffff:127.0.0.1]:9/cb",
        "http://localhost:7001/cb",
        "http://localhost.evil.example:7000/cb",
        "https://127.0.0.1:9/cb",
    ):
        assert_stays((await flow.start(browser, redirect_uri=asked))[0])
    page, _ = await flow.start(browser, redirect_uri="http://127.0.0.1:9/cb")
    assert page.title.startswith("Sign in")


ELSEWHERE = [
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil",
    "http:evil.example", "javascript:alert(1)", "/authorize@evil.example", "/authorize/../sign-out",
    "/authorized?x", "/sign-in?to=https://evil.example", ".evil.example", "@evil.example",
    " /authorize", "/%61uthorize?x", "https://evil.example/authorize?x", "?", "",
]  # fmt: skip


@without(
    "identity.pages.returning:to",
    "or path not in pages",
    "or False",
)
async def test_who_signs_in_is_led_nowhere_but_to_authorize(world: World) -> None:
    world.user()
    for to in ELSEWHERE[:-1]:
        browser = Browser(world.api)
        address = f"/sign-in?{urlencode({'to': to})}"
        page = await browser.get(address)
        assert page.status == 400 and page.title.startswith("This link does not work"), to
        said = {"username": "ada", "password": "tangerine harbour 71"}
        page = await browser.post(address, said)
        assert page.status == 400 and "location" not in page.answer.headers, to
        assert "identity" not in browser.cookies
        for path in ("/consent", "/sign-out"):
            page = await browser.post(f"{path}?{urlencode({'to': to})}", {"answer": "agree"})
            assert page.status == 400 and "location" not in page.answer.headers, (path, to)


@without("identity.pages.returning:to", "not _PLAIN.fullmatch(wanted) or ", "")
async def test_no_line_is_written_into_the_headers_by_the_way_back(world: World) -> None:
    world.user()
    for to in (
        "/authorize?a\r\nset-cookie: x=y",
        "/authorize?\\",
        "/authorize?\ta",
        "/authorize? ",
    ):
        page = await Browser(world.api).get(f"/sign-in?{urlencode({'to': to})}")
        assert page.status == 400, to


@without("identity.oauth.authorize.response_modes:FormPost.answer",
         'value="{escape(value)}"', 'value="{value}"')  # fmt: skip
async def test_nothing_breaks_out_of_the_form(world: World) -> None:
    uri = "https://shop.example/callback?a='b'&c=$d"
    flow = Flow(world, code_client(world, redirect_uris=[uri]), uri)
    for state in (
        '"><script>alert(1)</script>',
        "'\"><img src=x onerror=alert(1)>",
        "</form>",
        "&quot;",
    ):
        page, _ = await flow.start(
            Browser(world.api), prompt="none", response_mode="form_post", state=state
        )
        form = page.form
        assert set(form.fields) == {"error", "error_description", "state", "iss"}
        assert form.fields["state"] == state and form.action == uri
        assert page.answer.text.count("<script") == 1 and "<img" not in page.answer.text
        nonces = page.answer.text.split('nonce="')[1].split('"')[0]
        assert f"script-src 'nonce-{nonces}'" in page.answer.headers["content-security-policy"]


# --- Signing out ------------------------------------------------------------------------------


async def leave(browser: Browser, **asked: str) -> Page:
    return await browser.get(f"/logout?{urlencode(asked)}")


@without(f"{LOGOUT}._back", "not uris.is_registered(uri, registered) or ", "")
@without(f"{LOGOUT}._back", " or uris.redirect_problem(uri)", "")
@without(f"{LOGOUT}._back", "or not client.active", "")
async def test_who_has_signed_out_is_sent_only_where_a_living_client_has_said(
    world: World,
) -> None:
    """Keycloak 15866: the address of a client that had been deleted."""
    world.user()
    old = [f"{AFTER}?state=mine", "JaVaScRiPt:alert(1)"]
    settings = {"post_logout_redirect_uris": [AFTER, *old], "first_party": True}
    flow, browser = Flow(world, code_client(world, **settings)), Browser(world.api)
    hint = (await flow.tokens(browser))["id_token"]
    for uri in (*old, f"{AFTER}/..;/x", f"{AFTER}?next=x", "//shop.example/bye", *MISSPELLED):
        for asked in ({"id_token_hint": hint}, {"client_id": "shop"}):
            page = await leave(browser, **asked, post_logout_redirect_uri=uri)
            assert page.status == 400 and "location" not in page.answer.headers, uri
            confirmed = await browser.post(
                f"/sign-out?{urlencode({**asked, 'post_logout_redirect_uri': uri})}", {}
            )
            assert confirmed.status == 400, uri
    assert (await flow.start(browser, prompt="none"))[0].sent_to["code"]
    world.change_client("shop", status="disabled")
    for gone in (False, True):
        if gone:
            world.delete_client("shop")
        for asked in ({"id_token_hint": hint}, {"client_id": "shop"}):
            page = await leave(browser, **asked, post_logout_redirect_uri=AFTER)
            assert page.status == 400 and "location" not in page.answer.headers


# --- Our own address --------------------------------------------------------------------------


async def test_no_answer_believes_the_host_header(world: World) -> None:
    """Links, forms, `Location`, metadata and `iss` are built from the configured issuer."""
    world.user()
    flow = Flow(world, code_client(world))
    parameters, _ = flow.parameters()
    lies: dict[str, Any] = {
        "host": "evil.example", "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https", "forwarded": "host=evil.example", "x-original-url": "/evil",
        "x-forwarded-prefix": "/evil",
    }  # fmt: skip
    asked = urlencode(parameters)
    for path in (
        "/.well-known/openid-configuration", f"/authorize?{asked}", "/logout",
        f"/authorize?{asked}&prompt=none", "/sign-in", "/sign-out", "/authorize?client_id=nobody",
        f"/authorize?{asked}&response_mode=form_post&prompt=none",
    ):  # fmt: skip
        answer = await world.api.get(path, headers=lies)
        assert answer.status_code < 500
        assert "evil" not in answer.text and "evil" not in str(answer.headers), path
        if location := answer.headers.get("location"):
            where = urlsplit(location)
            assert where.netloc in ("", "shop.example")
            if where.netloc:
                assert dict(parse_qsl(where.query))["iss"] == world.services.settings.issuer
