"""Whom an answer goes to. Until that is known good there is a page, and never a redirect."""

import pytest

from identity.directory.clients.table import FIRST_PARTY
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.conformance.lines import line
from tests.world import World, refused

STAYED = "This link does not work"


def assert_stays(page: Page) -> None:
    assert page.status == 400 and "location" not in page.answer.headers, page.answer.text
    assert page.title.startswith(STAYED)
    assert page.answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.answer.headers["content-security-policy"]


UNREGISTERED = [
    "https://shop.example/callback/",
    "https://shop.example/callback?x=1",
    "https://shop.example/Callback",
    "https://SHOP.example/callback",
    "https://shop.example:443/callback",
    "https://shop.example/callback#x",
    "https://shop.example/callback/../callback",
    "https://shop.example/callback;/",
    "https://shop.example@evil.example/callback",
    "https://a@b@shop.example/callback",
    "https://shop.example.evil.example/callback",
    "http://shop.example/callback",
    "//shop.example/callback",
    "javascript:alert(1)//",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "https://shop.example/callbac%6b",
    "https://shop.example/callback\r\nset-cookie: a=b",
    "https://shop.example/*",
]


@line("Code flow", "An unregistered redirect URI gets a page and never a redirect")
async def test_an_address_that_is_not_registered_character_by_character_gets_a_page(
    world: World,
) -> None:
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    for asked in UNREGISTERED:
        for said in ({}, {"prompt": "none"}, {"response_mode": "form_post"}):
            page, _ = await flow.start(browser, redirect_uri=asked, **said)
            assert_stays(page)


async def test_who_asks_must_be_a_client_that_is_there_and_enabled(world: World) -> None:
    world.user()
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    for named in ("nobody", FIRST_PARTY, "nul\x01"):
        assert_stays((await flow.start(browser, client_id=named))[0])
    assert_stays((await flow.start(browser, client_id=None))[0])
    assert "Sign in" in (await flow.start(browser))[0].title
    world.change_client("shop", status="disabled")
    assert_stays((await flow.start(browser))[0])


async def test_the_address_may_be_left_out_where_one_is_registered(world: World) -> None:
    world.user()
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    code, verifier = await flow.signed_in(browser, redirect_uri=None)
    answer = await flow.redeem(code, verifier, redirect_uri="")
    assert answer.status_code == 200, answer.text
    # Who names it all the same may (RFC 6749 §4.1.3 asks only for those that were named).
    code, verifier = await flow.signed_in(browser, redirect_uri=None)
    another = await flow.redeem(code, verifier, redirect_uri="https://shop.example/other")
    refused(another, 400, "invalid_grant")
    assert (await flow.redeem(code, verifier)).status_code == 200


@line("Registration", "Two redirect URIs and none named: a page")
async def test_of_two_addresses_one_must_be_named(world: World) -> None:
    both = [CALLBACK, "https://shop.example/other"]
    flow, browser = Flow(world, code_client(world, redirect_uris=both)), Browser(world.api)
    assert_stays((await flow.start(browser, redirect_uri=None))[0])
    for each in both:
        assert "Sign in" in (await flow.start(browser, redirect_uri=each))[0].title


async def test_only_the_port_of_a_loopback_address_floats(world: World) -> None:
    registered = ["http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:7000/cb"]
    client = code_client(world, public=True, redirect_uris=registered)
    flow, browser = Flow(world, client), Browser(world.api)
    for good in ("http://127.0.0.1:51234/cb", "http://[::1]:51234/cb", "http://[::1]/cb"):
        assert "Sign in" in (await flow.start(browser, redirect_uri=good))[0].title, good
    for bad in (
        "http://localhost:7001/cb",
        "http://127.0.0.1:51234/other",
        "http://127.0.0.1:51234/cb?a=b",
        "http://127.0.0.2:51234/cb",
        "https://127.0.0.1:51234/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:0/cb",
        "http://127.1:51234/cb",
        "http://127.0.0.1:80@evil.example/cb",
    ):
        assert_stays((await flow.start(browser, redirect_uri=bad))[0])


async def test_an_address_that_newer_rules_forbid_is_not_used_though_it_is_registered(
    world: World,
) -> None:
    for n, old in enumerate(("javascript:alert(1)", "https://shop.example/?code=mine")):
        client = code_client(world, f"old-{n}", redirect_uris=[old])
        page, _ = await Flow(world, client, redirect_uri=old).start(Browser(world.api))
        assert_stays(page)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state"])
async def test_what_the_answer_hangs_on_must_not_repeat(world: World, name: str) -> None:
    flow = Flow(world, code_client(world))
    parameters, _ = flow.parameters()
    pairs = [*parameters.items(), (name, parameters[name])]
    page = await Browser(world.api).get("/authorize", params=pairs)
    assert_stays(page)


async def test_a_page_that_refuses_shows_markup_as_text(world: World) -> None:
    page, _ = await Flow(world, code_client(world)).start(
        Browser(world.api), client_id="<script>alert(1)</script>"
    )
    assert_stays(page)
    assert "<script>" not in page.answer.text
