"""Clients that are described at their own address, and registered nowhere
(draft-ietf-oauth-client-id-metadata-document)."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from identity.app import create_app
from identity.directory.clients.table import Client
from identity.oauth.authorize.documents import is_document
from tests.acting import admin
from tests.browsing import Browser, Flow, Page
from tests.described import CALLBACK, Site, site_of_a_client
from tests.serving import running
from tests.world import Caller, World, granted, refused


@pytest.fixture
def site() -> Iterator[Site]:
    with site_of_a_client() as made:
        yield made


@pytest.fixture
def on() -> bool:
    return True


@pytest.fixture
async def app(make_settings: Callable[..., Any], on: bool) -> AsyncIterator[Any]:
    app = create_app(make_settings(client_metadata_documents=on))
    async with running(app):
        yield app


@pytest.fixture
def flow(world: World, site: Site) -> Flow:
    world.user("ada")
    return Flow(world, Caller(site.client_id, None), CALLBACK)


def stored(world: World, client_id: str) -> Client | None:
    with world.change() as session:
        return session.get(Client, client_id)


async def start(flow: Flow) -> Page:
    page, _ = await flow.start(Browser(flow.world.api))
    return page


async def test_a_person_signs_in_to_a_client_that_nobody_has_registered(
    flow: Flow, site: Site
) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    page, verifier = await flow.start(browser)
    assert stored(world, site.client_id) is None  # an anonymous visitor writes nothing
    page = await browser.sign_in(page)
    assert "consent" in str(page.answer.url)
    assert "notes.example" in page.text and "127.0.0.1" in page.text and "vouched" in page.text
    assert stored(world, site.client_id) is None
    page = await browser.submit(page, "agree")
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    row = stored(world, site.client_id)
    assert row is not None and row.self_registered and row.type == "public"
    assert (await world.introspect(tokens["access_token"]))["client_id"] == site.client_id
    # However often it comes, it asks: it may be another by now.
    page, _ = await flow.start(browser)
    assert "consent" in str(page.answer.url)
    page, _ = await flow.start(browser, prompt="none")
    assert page.sent_to["error"] == "consent_required"


async def test_metadata_says_so(world: World) -> None:
    document = (await world.api.get("/.well-known/oauth-authorization-server")).json()
    assert document["client_id_metadata_document_supported"] is True


@pytest.mark.parametrize("on", [False])
async def test_where_it_is_off_nobody_asks_for_a_document(flow: Flow, site: Site) -> None:
    page = await start(flow)
    assert page.status == 400 and site.asked == 0
    metadata = await flow.world.api.get("/.well-known/oauth-authorization-server")
    assert metadata.json()["client_id_metadata_document_supported"] is False


async def test_the_document_of_now_counts(flow: Flow, site: Site) -> None:
    world = flow.world
    await flow.signed_in(Browser(world.api))
    # It is kept for a moment, however often somebody makes us ask.
    assert site.asked == 1
    world.services.fetcher._kept.clear()
    other = "https://notes.example/other"
    site.says(client_name="Notes 2", redirect_uris=[other], scope="openid email")
    page = await start(flow)
    assert page.status == 400 and "location" not in page.answer.headers
    flow.redirect_uri = other
    code, _ = await flow.signed_in(Browser(world.api))
    assert code
    row = stored(world, site.client_id)
    assert row is not None and row.name == "Notes 2" and row.scopes == ["email", "openid"]
    assert (row.settings or {})["redirect_uris"] == [other]


@pytest.mark.parametrize(
    "said",
    [
        {"client_id": "http://127.0.0.1/client.json"}, {"client_id": None}, {"client_id": 7},
        {"client_secret": "s"}, {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": ["javascript:alert(1)"]}, {"redirect_uris": []},
        {"logo_uri": "JaVaScRiPt:alert(1)"}, {"policy_uri": "data:text/html,x"},
        {"tos_uri": "javascript:x"}, {"client_uri": "file:///etc/passwd"},
        {"grant_types": ["password"]}, {"grant_types": ["client_credentials"]},
        {"scope": "openid users:write"}, {"scope": "*"}, {"scope": "groups"},
    ],
)  # fmt: skip
async def test_a_document_that_says_too_much_is_of_no_use(
    flow: Flow, site: Site, said: dict[str, Any]
) -> None:
    site.says(**said)
    page = await start(flow)
    assert page.status == 400 and "location" not in page.answer.headers
    assert stored(flow.world, site.client_id) is None
    # An error is kept by nobody.
    site.says()
    flow.world.services.fetcher._kept.clear()
    assert "sign-in" in str((await start(flow)).answer.url)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"<html>", b'{"client_id": "a", "client_id": "b"}', b"{" + b" " * 9000 + b"}"],
)
async def test_what_is_no_document_is_refused(flow: Flow, site: Site, document: bytes) -> None:
    site.document = document
    page = await start(flow)
    assert page.status == 400 and "location" not in page.answer.headers


@pytest.mark.parametrize(
    ("media_type", "is_one"),
    [
        ("application/json; charset=utf-8", True), ("Application/Client+JSON", True),
        ("text/plain", False), ("text/html", False), ("text/json", False),
        ("application/octet-stream", False), ("image/svg+json", False), (None, False),
    ],
)  # fmt: skip
async def test_a_text_that_somebody_could_put_there_is_no_document(
    flow: Flow, site: Site, media_type: str | None, is_one: bool
) -> None:
    """§4: a forge shows whatever its users write, as text."""
    site.media_type = media_type
    page = await start(flow)
    assert page.status == (200 if is_one else 400) and "location" not in page.answer.headers
    assert ("sign-in" in str(page.answer.url)) is is_one


@pytest.mark.parametrize("status", [404, 500, 302, 204])
async def test_an_answer_that_is_none_is_asked_for_again(
    flow: Flow, site: Site, status: int
) -> None:
    site.status = status
    assert (await start(flow)).status == 400
    site.status = 200
    assert "sign-in" in str((await start(flow)).answer.url)


async def test_privileged_settings_are_passed_over(flow: Flow, site: Site) -> None:
    site.says(
        first_party=True, pkce="optional", claims_in_id_token=True, audiences=["https://x.example"]
    )
    page = await start(flow)
    assert "sign-in" in str(page.answer.url)
    browser = Browser(flow.world.api)
    page, _ = await flow.start(browser)
    assert "consent" in str((await browser.sign_in(page)).answer.url)
    page, _ = await flow.start(browser, code_challenge=None, code_challenge_method=None)
    assert page.sent_to["error"] == "invalid_request"


async def test_an_administrator_can_disable_it(flow: Flow, site: Site) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    await flow.signed_in(browser)
    world.change_client(site.client_id, status="disabled")
    page, _ = await flow.start(browser)
    assert page.status == 400
    boss = await admin(world)
    listed = (await boss.done("GET", "/clients"))["items"]
    assert [each["self_registered"] for each in listed if each["id"] == site.client_id] == [True]


async def test_it_is_a_client_of_nothing_before_somebody_has_agreed(flow: Flow, site: Site) -> None:
    answer = await flow.redeem("ac_" + "x" * 43, "v" * 43)
    refused(answer, 401, "invalid_client")
    assert site.asked == 0


def test_which_addresses_are_documents() -> None:
    for good in ("https://notes.example/client", "https://notes.example:8443/a/b.json?v=1"):
        assert is_document(good)
    for bad in (
        "https://notes.example", "https://notes.example/", "http://notes.example/client.json",
        "https://notes.example/a/../b", "https://notes.example/./b", "https://a@notes.example/c",
        "https://notes.example/c#x", "https://NOTES.example/c", "ftp://notes.example/c", "shop",
        "https://notes.example/" + "x" * 400,
    ):  # fmt: skip
        assert not is_document(bad), bad
