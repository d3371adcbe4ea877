"""Authorization details (RFC 9396): of registered types, shown, carried and narrowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from identity.app import create_app
from identity.settings import SettingsError
from tests.browsing import Browser, Flow, Page, code_client
from tests.oauth.authorize.test_requests import told
from tests.pushing import come, push, pushed
from tests.world import World, claims_of, granted, refused

PAYMENT = {
    "description": "Make a payment",
    "schema": {
        "type": "object",
        "properties": {
            "amount": {"type": "string"},
            "to": {"type": "string", "maxLength": 34},
            "instant": {"type": "boolean"},
            "locations": {"type": "array"},
            "identifier": True,
        },
        "required": ["amount", "to"],
        "additionalProperties": False,
    },
}
READING = {"description": "Read a folder", "schema": {"additionalProperties": False}}
TYPES = {"payment": PAYMENT, "folder": READING}
BILL = {"type": "payment", "amount": "12.50 EUR", "to": "DE02<b>", "instant": True}
ODD = {"type": "payment", "amount": "\0\u202e", "to": "\U0001f600"}
RENT = {"type": "payment", "amount": "900 EUR", "to": "DE99"}


@pytest.fixture
def types() -> Any:
    return TYPES


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path, types: Any) -> Any:
    file = tmp_path / "details.json"
    file.write_text(json.dumps(types))
    return make_settings(authorization_details=file)


def bank(world: World, **settings: Any) -> Flow:
    world.user()
    settings.setdefault("authorization_details_types", ["payment"])
    return Flow(world, code_client(world, **settings))


async def asked(flow: Flow, browser: Browser, *details: Any, **changed: str) -> tuple[Page, str]:
    """The page after signing in, where that is asked for, and the verifier."""
    text = json.dumps(details)
    page, verifier = await flow.start(browser, authorization_details=text, **changed)
    if page.title.startswith("Sign in"):
        page = await browser.sign_in(page)
    return page, verifier


async def tokens(flow: Flow, browser: Browser, *details: Any, **form: str) -> dict[str, Any]:
    page, verifier = await asked(flow, browser, *details)
    page = await browser.submit(page, "agree")
    return granted(await flow.redeem(page.sent_to["code"], verifier, **form))


async def test_what_was_agreed_to_is_in_the_answer_the_token_and_introspection(
    world: World,
) -> None:
    flow = bank(world)
    odd = await tokens(flow, Browser(world.api), ODD)
    assert odd["authorization_details"] == [ODD]
    got = await tokens(flow, Browser(world.api), BILL, RENT)
    assert got["authorization_details"] == [BILL, RENT]
    assert claims_of(got["access_token"])["authorization_details"] == [BILL, RENT]
    for token in (got["access_token"], got["refresh_token"]):
        assert (await world.introspect(token))["authorization_details"] == [BILL, RENT]
    again = granted(await world.refresh(got["refresh_token"], flow.client))
    assert again["authorization_details"] == [BILL, RENT]


async def test_people_see_every_member_and_are_asked_each_time(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    for _ in range(2):
        page, _ = await asked(flow, browser, BILL)
        assert page.title.startswith("Allow access")
        for words in ("Make a payment", "amount", "12.50 EUR", "DE02<b>", "instant", "true"):
            assert words in page.text
        assert "DE02<b>" not in page.answer.text
        assert (await browser.submit(page, "agree")).sent_to["code"]
    text = json.dumps([BILL])
    page, _ = await flow.start(browser, prompt="none", authorization_details=text)
    told(page, "consent_required")
    page, _ = await flow.start(browser, prompt="none")
    assert page.sent_to["code"]


WRONG: list[Any] = [
    [{"type": "unheard_of"}],
    [{"type": "folder"}],  # registered, and not the client's
    [{"amount": "1", "to": "DE02"}],
    [{"type": ["payment"], "amount": "1", "to": "DE02"}],
    [{"type": "payment", "amount": "1"}],
    [{"type": "payment", "amount": 1, "to": "DE02"}],
    [{**RENT, "extra": "unknown"}],
    [{**RENT, "locations": "https://bank.example"}],
    [{**RENT, "locations": [1]}],
    [{**RENT, "identifier": 7}],
    [RENT, {"type": "unheard_of"}],
    RENT,
    [],
    ["payment"],
    [{**RENT, "amount": "9" * 4000}],
    [RENT] * 21,
    None,
]


async def test_what_is_not_as_its_type_demands_is_refused_by_its_own_error(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    error = "invalid_authorization_details"
    texts = [json.dumps(wrong) for wrong in WRONG]
    twice = '[{"type": "payment", "type": "payment", "amount": "1", "to": "DE02"}]'
    for text in (*texts, twice, "[", '[]}, "b": {', '[], "b": []', "[NaN]"):
        told((await flow.start(browser, authorization_details=text))[0], error)
        refused((await push(flow, authorization_details=text))[0], 400, error)


async def test_a_client_without_types_may_ask_for_none(world: World) -> None:
    flow = bank(world, authorization_details_types=[])
    text = json.dumps([RENT])
    page, _ = await flow.start(Browser(world.api), authorization_details=text)
    told(page, "invalid_authorization_details")


async def test_a_push_brings_them_and_nobody_adds_any(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    request_uri, verifier = await pushed(flow, authorization_details=json.dumps([RENT]))
    page = await come(browser, flow, request_uri, authorization_details=json.dumps([BILL]))
    page = await browser.submit(await browser.sign_in(page), "agree")
    got = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert got["authorization_details"] == [RENT]


async def test_a_token_request_narrows_and_never_widens(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    reordered = json.dumps([dict(reversed(RENT.items()))])
    got = await tokens(flow, browser, BILL, RENT, authorization_details=reordered)
    assert got["authorization_details"] == [RENT]
    assert claims_of(got["access_token"])["authorization_details"] == [RENT]
    more = json.dumps([{**RENT, "amount": "901 EUR"}])
    for text in (more, json.dumps([{"type": "folder"}]), "[]", "nonsense"):
        answer = await world.refresh(got["refresh_token"], flow.client, authorization_details=text)
        refused(answer, 400, "invalid_authorization_details")
    whole = granted(await world.refresh(got["refresh_token"], flow.client))
    assert whole["authorization_details"] == [BILL, RENT]
    one = json.dumps([{**BILL, "instant": 1}])
    answer = await world.refresh(whole["refresh_token"], flow.client, authorization_details=one)
    refused(answer, 400, "invalid_authorization_details")
    one = json.dumps([BILL])
    answer = await world.refresh(whole["refresh_token"], flow.client, authorization_details=one)
    assert granted(answer)["authorization_details"] == [BILL]


async def test_a_code_whose_narrowing_is_refused_is_not_spent(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    page, verifier = await asked(flow, browser, RENT)
    code = (await browser.submit(page, "agree")).sent_to["code"]
    wrong = await flow.redeem(code, verifier, authorization_details=json.dumps([BILL]))
    refused(wrong, 400, "invalid_authorization_details")
    assert granted(await flow.redeem(code, verifier))["authorization_details"] == [RENT]


async def test_a_type_taken_away_from_the_client_is_in_no_later_token(world: World) -> None:
    flow, browser = bank(world), Browser(world.api)
    got = await tokens(flow, browser, RENT)
    page, verifier = await asked(flow, browser, RENT)
    code = (await browser.submit(page, "agree")).sent_to["code"]
    settings = {"redirect_uris": [flow.redirect_uri]}
    world.change_client("shop", settings=settings)
    assert "authorization_details" not in granted(await flow.redeem(code, verifier))
    again = granted(await world.refresh(got["refresh_token"], flow.client))
    assert "authorization_details" not in again
    assert "authorization_details" not in claims_of(again["access_token"])
    assert "authorization_details" not in await world.introspect(again["refresh_token"])


async def test_other_grants_carry_none(world: World) -> None:
    flow = bank(world)
    world.change_client("shop", grants=["client_credentials", "password"])
    answer = await world.token(
        flow.client, grant_type="client_credentials", authorization_details=json.dumps([RENT])
    )
    refused(answer, 400, "invalid_request")


async def test_the_metadata_names_the_types(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert document["authorization_details_types_supported"] == ["payment", "folder"]


OPEN = {"description": "x", "schema": {"properties": {"a": {}}}}
REMOTE = {
    "description": "x",
    "schema": {"additionalProperties": False, "$ref": "https://evil.example/schema.json"},
}
NO_SCHEMA = {"description": "x", "schema": {"additionalProperties": False, "type": "nonsense"}}


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "types",
    [[], {"a": {}}, {"a": OPEN}, {"a": REMOTE}, {"a": NO_SCHEMA}, {"a": {**PAYMENT, "b": 1}},
     {"a": {**PAYMENT, "description": "two\nlines"}}],
)  # fmt: skip
def test_a_file_that_says_no_types_stops_the_start(settings: Any) -> None:
    with pytest.raises(SettingsError, match=r"IDENTITY_AUTHORIZATION_DETAILS: .*details\.json"):
        create_app(settings)


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_so_does_one_that_is_not_there(make_settings: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json"):
        create_app(make_settings(authorization_details=tmp_path / "none.json"))
