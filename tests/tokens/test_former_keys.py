"""Keys that have retired: what an ID token says of who was signed in is believed for as long as a
session of its time may last, whether or not its key is published any more."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt as pyjwt
import pytest
from sqlmodel import select

from identity.clock import Frozen, frozen
from identity.keys import rotation, upkeep
from identity.keys.table import SigningKey
from identity.keys.transitions import ID_TOKEN_TTL
from identity.verifier.gate.claims import MAX_LEEWAY
from tests.browsing import Browser, Flow, Page, code_client
from tests.oauth.authorize.test_requests import told
from tests.world import World

EXPIRED = timedelta(seconds=ID_TOKEN_TTL + MAX_LEEWAY)


@pytest.fixture(autouse=True)
def clock() -> Iterator[Frozen]:
    with frozen() as hand:
        yield hand


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada")
    return Flow(world, code_client(world, first_party=True, id_token_signed_response_alg="ES256"))


async def tend(world: World) -> None:
    services = world.services
    await upkeep.tend(services.db, services.settings, services.master)


async def replaced(world: World) -> None:
    """The ES256 key signs no more."""
    services = world.services
    made = await upkeep.material("ES256", services.master)
    with world.change() as session:
        rotation.rotate(session, services.settings, made, now=True)


async def published(world: World) -> set[str]:
    keys = (await world.api.get("/.well-known/jwks.json")).json()["keys"]
    return {key["kid"] for key in keys}


def row(world: World, kid: str) -> SigningKey | None:
    with world.change() as session:
        return session.exec(select(SigningKey).where(SigningKey.kid == kid)).first()


async def hinted(flow: Flow, browser: Browser, hint: str) -> Page:
    page, _ = await flow.start(browser, prompt="none", id_token_hint=hint)
    return page


async def withdrawn(flow: Flow, browser: Browser, clock: Frozen) -> tuple[str, str]:
    """An ID token whose key has been taken out of the key set, and its `kid`."""
    hint = (await flow.tokens(browser))["id_token"]
    kid = pyjwt.get_unverified_header(hint)["kid"]
    await replaced(flow.world)
    clock.tick(EXPIRED - timedelta(seconds=1))
    await tend(flow.world)
    assert kid in await published(flow.world)  # somebody may look at an ID token all its hour
    clock.tick(1)
    await tend(flow.world)
    assert kid not in await published(flow.world)
    return hint, kid


async def test_a_hint_counts_when_its_key_is_published_no_more(flow: Flow, clock: Frozen) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    hint, kid = await withdrawn(flow, browser, clock)
    assert (await hinted(flow, browser, hint)).sent_to["code"]
    found: Any = row(world, kid)
    assert (found.state, found.private) == ("retired", None) and found.withdrawn_at is not None
    (event,) = [e for e in await world.events("key.withdrawn") if e.subject == kid]
    assert event.detail["algorithm"] == "ES256"
    # And for signing out: it leads back without a question.
    page = await browser.get("/logout", params={"id_token_hint": hint})
    assert page.title.startswith("Signed out"), page.title


async def test_it_opens_nothing_else(flow: Flow, clock: Frozen) -> None:
    """A token of such a key is of nobody's: whoever has its private half signs nothing good."""
    world, browser = flow.world, Browser(flow.world.api)
    _, kid = await withdrawn(flow, browser, clock)
    await world.services.ring.refresh()
    assert world.services.ring.find(kid) is None
    assert world.services.ring.find_former(kid) is not None


async def test_a_key_that_is_revoked_proves_nothing(flow: Flow, clock: Frozen) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    hint, kid = await withdrawn(flow, browser, clock)
    services = world.services
    made = await upkeep.material("ES256", services.master)
    with world.change() as session:
        rotation.revoke(session, services.settings, kid, made)
    told(await hinted(flow, browser, hint), "invalid_request")


async def test_it_goes_when_no_session_is_left_of_its_time(flow: Flow, clock: Frozen) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    hint, kid = await withdrawn(flow, browser, clock)
    lasting = world.services.settings.sessions.session_ttl
    clock.tick(lasting - EXPIRED - timedelta(seconds=1))
    await tend(world)
    assert row(world, kid) is not None
    clock.tick(1)
    await tend(world)
    assert row(world, kid) is None
    told(await hinted(flow, browser, hint), "invalid_request")
