"""Clients that are described at their own address push like any other, though they are none of ours
before somebody has agreed."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from identity.app import create_app
from identity.directory.clients.table import Client
from identity.tokens import pushed as stored
from tests.browsing import Browser, Flow
from tests.described import CALLBACK, Site, site_of_a_client
from tests.pushing import age, come, push, pushed, rows
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


def is_ours(world: World, client_id: str) -> bool:
    with world.change() as session:
        return session.get(Client, client_id) is not None


async def test_a_push_leads_to_tokens_and_makes_no_client_before_somebody_agrees(
    flow: Flow,
) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    for _ in range(2):  # the second time it is one of ours
        request_uri, verifier = await pushed(flow)
        page = await come(browser, flow, request_uri)
        if "sign-in" in str(page.answer.url):
            assert not is_ours(world, flow.client.id)
            page = await browser.sign_in(page)
        page = await browser.submit(page, "agree")
        tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
        assert tokens["id_token"]
        assert is_ours(world, flow.client.id)


async def test_what_is_wrong_is_said_at_once(flow: Flow, site: Site) -> None:
    answer, _ = await push(flow, redirect_uri="https://evil.example/")
    refused(answer, 400, "invalid_request")
    site.status = 404
    flow.world.services.fetcher._kept.clear()
    answer, _ = await push(flow)
    refused(answer, 400, "invalid_request")
    assert rows(flow.world) == []


@pytest.mark.parametrize("on", [False])
async def test_where_documents_are_not_welcome_nothing_is_fetched(flow: Flow, site: Site) -> None:
    answer, _ = await push(flow)
    refused(answer, 400, "invalid_request")
    assert site.asked == 0 and rows(flow.world) == []


async def test_it_is_bound_to_its_document(flow: Flow, world: World) -> None:
    request_uri, _ = await pushed(flow)
    with site_of_a_client() as other:
        elsewhere = Flow(world, Caller(other.client_id, None), CALLBACK)
        page = await come(Browser(world.api), elsewhere, request_uri)
        assert page.status == 400 and "location" not in page.answer.headers


async def test_one_network_has_one_share_however_many_documents_it_has(
    flow: Flow, world: World
) -> None:
    with site_of_a_client() as other:
        flows = [flow, Flow(world, Caller(other.client_id, None), CALLBACK)]
        for n in range(stored.EACH):
            await pushed(flows[n % 2])
        for each in flows:
            answer, _ = await push(each)
            assert answer.status_code == 429
        age(world, 61)
        await pushed(flow)


async def test_a_client_that_is_removed_takes_along_what_it_has_pushed(
    flow: Flow, world: World
) -> None:
    from identity.tokens.sessions import lifecycle

    await pushed(flow)
    with world.change() as session:
        lifecycle.end_all(session, "client deleted", client_id=flow.client.id)
    assert rows(world) == []
