"""Who follows says which keys it has, over HTTP; administrators see whom a new key waits for."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from identity import clock
from identity.keys import rotation
from identity.keys.followers import AGAIN
from identity.keys.table import KeyFollower
from identity.verifier import Verifier
from identity.verifier.testing import Issuer
from tests import acting
from tests.databases import wait_until
from tests.oauth.revocation_feed.conftest import Watched
from tests.oauth.revocation_feed.following import Follower
from tests.pages.console.sitting import administrator, at, seated
from tests.transport import served
from tests.verifier.faulty import turns, until
from tests.world import Caller, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


@pytest.fixture
def sibling(world: World) -> Caller:
    return world.client("sibling", scopes=["introspect"])


async def written(world: World) -> None:
    """A minute later the chore comes round."""
    followers = world.services.followers
    before = followers._monotonic
    followers._monotonic = lambda: before() + AGAIN + 1
    await followers.write()


async def tend(world: World, settings: Any) -> None:
    await world.services.db.write(lambda session: rotation.tend(session, settings, None))


async def uptake(world: World, boss: acting.Actor) -> dict[str, Any]:
    keys = (await boss.done("GET", "/keys"))["items"]
    assert all(key["uptake"] is None for key in keys if key["state"] != "next")
    (found,) = [key["uptake"] for key in keys if key["state"] == "next"]
    return dict(found)


async def test_a_verifier_says_what_it_has_and_a_new_key_waits_for_it(
    world: World, sibling: Caller, settings: Any
) -> None:
    boss = await acting.admin(world)
    verifier = Verifier(
        settings.issuer, settings.issuer, client_id=sibling.id, client_secret=sibling.secret,
        revocations="poll", transport=served(world.app),
    )  # fmt: skip
    async with verifier:
        await written(world)
        coming = await boss.done("POST", "/keys/rotate")
        told = await uptake(world, boss)
        assert (told["followers"], told["silent"], told["missing"]) == (1, 0, 1)
        (missing,) = told["waits_for"]
        assert missing["client_id"] == "sibling"
        with clock.frozen(clock.utcnow() + timedelta(minutes=7)):
            await tend(world, settings)
        assert (await uptake(world, boss))["missing"] == 1

        await verifier._keys.refresh()
        deadline = time.monotonic() + 30
        while (await uptake(world, boss))["missing"] and time.monotonic() < deadline:
            await verifier._subscriber._poll_once(wait=0)  # type: ignore[union-attr]
            await written(world)
        assert (await uptake(world, boss))["missing"] == 0
    with clock.frozen(clock.utcnow() + timedelta(minutes=7)):
        await tend(world, settings)
    keys = (await boss.done("GET", "/keys"))["items"]
    assert {key["kid"]: key["state"] for key in keys}[coming["kid"]] == "active"


async def test_who_says_nothing_is_counted_and_not_waited_for(
    world: World, sibling: Caller, settings: Any
) -> None:
    boss = await acting.admin(world)
    await world.api.get("/revocations", headers=sibling.basic)
    await written(world)
    coming = await boss.done("POST", "/keys/rotate")
    told = await uptake(world, boss)
    assert (told["followers"], told["silent"], told["missing"]) == (1, 1, 0)
    with clock.frozen(clock.utcnow() + timedelta(minutes=7)):
        await tend(world, settings)
    keys = (await boss.done("GET", "/keys"))["items"]
    assert {key["kid"]: key["state"] for key in keys}[coming["kid"]] == "active"


async def test_a_liar_can_hold_up_a_rotation_and_an_operator_ends_that(
    world: World, sibling: Caller, settings: Any
) -> None:
    boss = await acting.admin(world)
    (first,) = (await boss.done("GET", "/keys"))["items"]
    says = {"identity-follower": "liar", "identity-keys": first["kid"]}
    await world.api.get("/revocations", headers={**sibling.basic, **says})
    await written(world)
    coming = await boss.done("POST", "/keys/rotate")
    with clock.frozen(clock.utcnow() + timedelta(minutes=7)):
        await tend(world, settings)
        await world.services.followers.write()
        metrics = (await world.api.get("/metrics")).text
    assert "identity_signing_key_followers_missing 1.0" in metrics
    assert (await uptake(world, boss))["waits_for"][0]["name"] == "liar"
    administrator(world)
    page = await (await seated(world)).get(at("/keys"))
    assert "It waits for followers of the revocations" in page.answer.text
    assert "<code>liar</code>" in page.answer.text
    now = await boss.done("POST", "/keys/rotate", {"now": True})
    assert (now["kid"], now["state"]) == (coming["kid"], "active")


async def test_who_may_not_follow_is_not_heard(world: World) -> None:
    stranger = world.client("stranger", scopes=[])
    says = {"identity-follower": "stranger", "identity-keys": ""}
    answer = await world.api.get("/revocations", headers={**stranger.basic, **says})
    assert answer.status_code == 403
    assert len(world.services.followers) == 0


class _Listening(httpx.AsyncBaseTransport):
    """Hears what a verifier says of itself."""

    def __init__(self, issuer: Issuer) -> None:
        self._inner = issuer.transport
        self.heard: list[tuple[str, frozenset[str]]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/revocations":
            kids = frozenset(request.headers.get("identity-keys", "").split())
            self.heard.append((request.headers.get("identity-follower", ""), kids))
        return await self._inner.handle_async_request(request)


async def test_a_stream_that_goes_on_is_told_of_keys_beside_it() -> None:
    issuer = Issuer(prompt=False)
    transport = _Listening(issuer)
    first = issuer.kid
    async with issuer.verifier(transport=transport) as verifier:
        assert [kids for _, kids in transport.heard] == [{first}]
        issuer.rotate()
        await verifier._keys.refresh()
        await until(lambda: len(transport.heard) == 2)
        (name, _), (again, kids) = transport.heard
        assert kids == {first, issuer.kid}
        assert name == again != ""
        await verifier._keys.refresh()  # nothing new, nothing said
        await turns()
        assert len(transport.heard) == 2


async def test_keys_of_algorithms_that_are_not_ours_are_said_to_be_there() -> None:
    """Else a verifier of one algorithm would hold up the keys of all others."""
    issuer = Issuer(prompt=False)
    transport = _Listening(issuer)
    async with issuer.verifier(transport=transport, algorithms=["ES256"]) as verifier:
        issuer.rotate(algorithm="RS256")
        await verifier._keys.refresh()
        await until(lambda: len(transport.heard) == 2)
        assert issuer.kid in transport.heard[-1][1]
        assert issuer.kid not in verifier._keys.current


def test_streams_are_written_down_by_whichever_process_has_them(
    start: Callable[[int], Watched],
) -> None:
    watched = start(2)
    followers = [
        Follower(
            watched.servers[n].port, watched.authorization,
            says={"Identity-Follower": f"host-{n}", "Identity-Keys": "none"},
        )
        for n in range(2)
    ]  # fmt: skip

    def names() -> set[str]:
        with watched.db.transaction() as session:
            return set(session.exec(select(KeyFollower.name)).all())

    try:
        wait_until(lambda: names() == {"host-0", "host-1"}, 60, lambda: str(names()))
    finally:
        for follower in followers:
            follower.close()
