"""What a client may ask for, and how it is told what is wrong."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from identity.directory.clients.table import Client
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.conformance.lines import line
from tests.world import World

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def told(page: Page, error: str) -> dict[str, str]:
    """What the client was told by a redirect: this error, who says so, and its state."""
    said = page.sent_to
    assert page.status == 303 and said["error"] == error, said
    assert said["iss"] and "code" not in said
    assert all(32 <= ord(c) < 127 and c not in '"\\' for c in said["error_description"])
    return said


WRONG: list[tuple[str, dict[str, str | None]]] = [
    ("invalid_request", {"response_type": None}),
    ("unsupported_response_type", {"response_type": "token"}),
    ("unsupported_response_type", {"response_type": "code id_token"}),
    ("unsupported_response_type", {"response_type": "none"}),
    ("invalid_request", {"response_mode": "web_message"}),
    ("invalid_request", {"code_challenge": None, "code_challenge_method": None}),
    ("invalid_request", {"code_challenge": None}),
    ("invalid_request", {"code_challenge_method": "plain"}),
    ("invalid_request", {"code_challenge_method": None}),
    ("invalid_request", {"code_challenge": CHALLENGE[:-1]}),
    ("invalid_request", {"code_challenge": CHALLENGE + "A"}),
    ("invalid_request", {"code_challenge": "+" + CHALLENGE[1:]}),
    ("invalid_request", {"prompt": "none login"}),
    ("invalid_request", {"prompt": "sometimes"}),
    ("invalid_request", {"max_age": "-1"}),
    ("invalid_request", {"max_age": "soon"}),
    ("invalid_request", {"claims": "[]"}),
    ("invalid_request", {"claims": "{"}),
    ("invalid_request", {"claims": '{"id_token": {"acr": "aal1"}}'}),
    ("invalid_request", {"claims": '{"userinfo": []}'}),
    ("invalid_request", {"id_token_hint": "not.a.token"}),
    ("request_not_supported", {"request": "e30.e30."}),
    ("request_uri_not_supported", {"request_uri": "https://shop.example/r"}),
    ("registration_not_supported", {"registration": "{}"}),
    ("invalid_scope", {"scope": 'open"id'}),
    ("invalid_scope", {"scope": "no-such-scope"}),
    ("invalid_target", {"resource": "https://elsewhere.example/"}),
    ("unmet_authentication_requirements", {"acr_values": "aal2 phr"}),
    (
        "unmet_authentication_requirements",
        {"claims": '{"id_token": {"acr": {"essential": true, "value": "gold"}}}'},
    ),
]


@line("Code flow", "A missing `response_type` is `invalid_request`")
@line("Code flow", "`request` and `request_uri` are refused by their own errors, never ignored")
@line("Code flow", "Error texts without CR, LF, TAB; no code beside an error")
async def test_what_is_wrong_the_client_is_told_by_a_redirect(world: World) -> None:
    world.user()
    browser, flow = Browser(world.api), Flow(world, code_client(world))
    await browser.sign_in(await browser.get("/sign-in"))
    for error, changed in WRONG:
        page, _ = await flow.start(browser, **{"state": "a b&c=<d>", **changed})
        assert page.status == 303, (error, changed)
        assert page.answer.headers["location"].startswith(f"{CALLBACK}?")
        assert told(page, error)["state"] == "a b&c=<d>"


async def test_nobody_signs_in_for_scopes_and_resources_that_do_not_exist(world: World) -> None:
    flow = Flow(world, code_client(world))
    for error, changed in WRONG:
        if error in {"invalid_scope", "invalid_target"}:
            for prompt in (None, "none"):
                page, _ = await flow.start(Browser(world.api), prompt=prompt, **changed)
                told(page, error)


@line("Code flow", "`state` comes back unchanged")
async def test_state_comes_back_as_it_came_and_not_at_all_where_none_came(world: World) -> None:
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    for state in ("", None):
        page, _ = await flow.start(browser, prompt="none", state=state)
        assert "state" not in told(page, "login_required")
    long = "%20+ü\u2028" + "x" * 2000
    page, _ = await flow.start(browser, prompt="none", state=long)
    assert told(page, "login_required")["state"] == long


async def test_no_answer_comes_in_a_fragment(world: World) -> None:
    """A redirect of the client's own would hand it on."""
    flow = Flow(world, code_client(world))
    page, _ = await flow.start(Browser(world.api), prompt="none", response_mode="fragment")
    told(page, "invalid_request")
    assert "#" not in page.answer.headers["location"]


async def test_a_registered_query_stays_and_the_answer_follows_it(world: World) -> None:
    uri = "https://shop.example/callback?tenant=a%20b&x="
    flow = Flow(world, code_client(world, redirect_uris=[uri]), redirect_uri=uri)
    page, _ = await flow.start(Browser(world.api), prompt="none")
    location = page.answer.headers["location"]
    assert location.startswith(f"{uri}&")
    assert dict(parse_qsl(urlsplit(location).query))["tenant"] == "a b"


@line("Code flow", "Unknown parameters are ignored")
@line("Code flow", "`display ui_locales claims_locales login_hint`, unknown `acr_values`: no error")
async def test_any_other_parameter_may_come_once_and_is_ignored_if_unknown(world: World) -> None:
    world.user()
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    harmless = {
        "display": "popup", "ui_locales": "de-CH xx", "claims_locales": "se",
        "login_hint": "ada", "acr_values": "gold aal1", "unheard_of": "<b>", "max_age": "10000",
        "claims": json.dumps({"userinfo": {"shoe_size": {"essential": True}}, "other": 1}),
    }  # fmt: skip
    page, _ = await flow.start(browser, **harmless)
    assert page.title.startswith("Anmelden")  # what is known of them is heeded
    parameters, _ = flow.parameters()
    for name in ("nonce", "scope", "unheard_of"):
        twice = [*parameters.items(), (name, "a"), (name, "b")]
        told(await browser.get("/authorize", params=twice), "invalid_request")


@line("Code flow", "Authorization by POST")
async def test_a_request_by_post_is_one_by_get(world: World) -> None:
    world.user()
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    parameters, verifier = flow.parameters()
    page = await browser.post("/authorize", parameters)
    assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200


async def test_a_post_from_elsewhere_becomes_a_get_that_brings_the_cookie(world: World) -> None:
    flow = Flow(world, code_client(world))
    parameters, _ = flow.parameters()
    for said in ({"sec-fetch-site": "cross-site"}, {"origin": "https://shop.example"}):
        answer = await world.api.post("/authorize", data=parameters, headers=said)
        assert answer.status_code == 303
        where = urlsplit(answer.headers["location"])
        assert where.path == "/authorize" and dict(parse_qsl(where.query)) == parameters


async def test_a_client_may_do_without_pkce_only_where_it_is_set_so_and_has_a_secret(
    world: World,
) -> None:
    world.user()
    browser = Browser(world.api)
    without = {"code_challenge": None, "code_challenge_method": None}
    lax = Flow(world, code_client(world, "lax", pkce="optional", first_party=True))
    code, _ = await lax.signed_in(browser, **without)
    assert (await lax.redeem(code, None)).status_code == 200
    # RFC 9700 §4.8.2: a challenge taken out on the way.
    code, verifier = await lax.signed_in(browser, **without)
    assert (await lax.redeem(code, verifier)).json()["error"] == "invalid_grant"
    app = Flow(world, code_client(world, "app", public=True, pkce="optional"))
    told((await app.start(browser, **without))[0], "invalid_request")


@pytest.mark.parametrize(
    "left", [{"grants": ["password"]}, {"settings": {"response_types": []}}], ids=str
)
async def test_a_client_without_the_grant_is_told_so(world: World, left: dict[str, Any]) -> None:
    flow = Flow(world, code_client(world))
    with world.change() as session:
        settings = session.get_one(Client, "shop").settings or {}
    left = {name: settings | value if name == "settings" else value for name, value in left.items()}
    world.change_client("shop", **left)
    told((await flow.start(Browser(world.api)))[0], "unauthorized_client")


async def test_a_request_too_long_for_an_address_gets_a_page(world: World) -> None:
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    parameters, _ = flow.parameters(state="x" * 13_000)
    page = await browser.post("/authorize", parameters)
    assert page.status == 400 and page.title.startswith("This link does not work")
    answer = await world.api.post("/authorize", content=urlencode(parameters))
    assert answer.status_code == 400


async def test_a_request_that_does_not_fit_into_the_address_of_a_page_is_refused(
    world: World,
) -> None:
    """There it stands encoded once more, and servers take 16 KiB at the most."""
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    for state, fits in (("x" * 7000, True), ("ü" * 600, True), ("ü" * 1500, False)):
        parameters, _ = flow.parameters(state=state)
        answer = await browser._api.get("/authorize", params=parameters)
        assert len(answer.headers["location"]) < 12 * 1024
        if fits:
            assert answer.headers["location"].startswith("/sign-in?")
        else:
            assert told(Page(answer), "invalid_request")["state"] == state


@line("Form post", "Answers and errors come in a form, and nothing in the address")
@pytest.mark.parametrize("wrong", [{"scope": "no-such-scope"}, {}])
async def test_form_post_says_everything_in_a_form_and_nothing_in_the_address(
    world: World, wrong: dict[str, str]
) -> None:
    world.user()
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    state = '"><script>alert(1)</script>'
    page, _ = await flow.start(browser, response_mode="form_post", state=state, **wrong)
    assert page.status == 200 and "location" not in page.answer.headers
    form = page.form
    assert (form.action, form.method) == (CALLBACK, "post")
    assert form.fields["state"] == state and form.fields["iss"]
    assert set(form.fields) - {"state", "iss"} == (
        {"error", "error_description"} if wrong else {"code"}
    )
    assert "<script>alert" not in page.answer.text
    policy = page.answer.headers["content-security-policy"]
    assert "form-action" not in policy and "default-src 'none'" in policy
    assert page.answer.headers["cache-control"] == "no-store"
