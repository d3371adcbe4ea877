import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlmodel import Session

from identity.clock import Frozen
from identity.errors import Unavailable
from identity.keys import exchange, rotation
from identity.keys.master import MasterKey
from identity.keys.material import prepare, seal
from identity.keys.ring import KeyRing
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.verifier.gate.encoding import b64url_decode
from tests.keys.starting import start


@pytest.fixture
async def feed(db: Database, settings: Settings) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(db, settings)
    yield feed
    await feed.close()


@pytest.fixture
async def ring(
    db: Database, feed: ChangeFeed, settings: Settings, master_key: MasterKey
) -> KeyRing:
    await start(db, settings, master_key)
    ring = KeyRing(db, feed, master_key)
    await feed.catch_up()
    await ring.refresh()
    return ring


def published(ring: KeyRing) -> list[str]:
    return [key["kid"] for key in json.loads(ring.jwks)["keys"]]


async def test_the_ring_signs_verifies_and_publishes(ring: KeyRing) -> None:
    kid = ring.signer.kid
    assert published(ring) == [kid]
    key = ring.find(kid)
    assert key is not None
    assert (key.kid, key.alg) == (kid, "ES256")
    assert ring.find("unknown") is None
    head, _, signature = ring.signer.sign({"sub": "someone"}).rpartition(".")
    assert key.verify(head.encode(), b64url_decode(signature.encode()))


async def test_the_published_set_holds_no_private_member(ring: KeyRing) -> None:
    (key,) = json.loads(ring.jwks)["keys"]
    assert key.keys() == {"kty", "use", "alg", "kid", "crv", "x", "y"}


async def test_another_processs_change_is_seen_after_catching_up(
    ring: KeyRing, feed: ChangeFeed, db: Database, settings: Settings, master_key: MasterKey
) -> None:
    first, etag = ring.signer, ring.jwks_etag
    material = prepare("ES256", master_key)
    with db.transaction() as session:
        rotation.rotate(session, settings, material)
    await feed.catch_up()
    assert ring.stale
    await ring.refresh()
    assert not ring.stale
    assert published(ring) == [first.kid, material.kid]
    assert ring.jwks_etag != etag
    assert ring.signer is first  # kept, not built again
    verifying = ring.find(material.kid)

    with db.transaction() as session:
        rotation.rotate(session, settings, material, now=True)
    await feed.catch_up()
    await ring.refresh()
    assert ring.signer.kid == material.kid
    assert published(ring) == [first.kid, material.kid]
    assert ring.find(material.kid) is verifying


async def test_a_revoked_key_neither_signs_nor_verifies_nor_shows(
    ring: KeyRing, feed: ChangeFeed, db: Database, settings: Settings, master_key: MasterKey
) -> None:
    old = ring.signer.kid
    fresh = prepare("ES256", master_key)
    await db.write(lambda session: rotation.revoke(session, settings, old, fresh))
    await feed.catch_up()
    await ring.refresh()
    assert ring.find(old) is None
    assert ring.signer.kid == fresh.kid
    assert published(ring) == [fresh.kid]


async def test_a_change_heard_during_a_load_asks_for_another(
    ring: KeyRing,
    feed: ChangeFeed,
    db: Database,
    settings: Settings,
    master_key: MasterKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads, begun, gate = 0, asyncio.Event(), asyncio.Event()
    read = db.read

    async def slow(unit: Callable[[Session], Any]) -> Any:
        nonlocal loads
        loads += 1
        rows = await read(unit)
        begun.set()
        await gate.wait()
        return rows

    monkeypatch.setattr(db, "read", slow)

    def rotate(session: Session) -> str:
        return rotation.rotate(session, settings, prepare("ES256", master_key), now=True).kid

    await db.write(rotate)
    await feed.catch_up()
    before = [asyncio.create_task(ring.refresh()) for _ in range(5)]
    await begun.wait()
    newest = await db.write(rotate)
    await feed.catch_up()
    after = [asyncio.create_task(ring.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*before)
    await asyncio.gather(*after)
    assert ring.signer.kid == newest
    assert not ring.stale
    assert loads == 2


async def test_without_a_database_the_last_set_still_answers(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    async def unreachable(unit: object) -> None:
        raise Unavailable

    jwks, etag = ring.jwks, ring.jwks_etag
    monkeypatch.setattr(db, "read", unreachable)
    ring._hear("changed", "some")
    for _ in range(2):  # a failed look is not taken for a look
        with pytest.raises(Unavailable):
            await ring.refresh()
    assert (ring.jwks, ring.jwks_etag) == (jwks, etag)
    monkeypatch.undo()
    await ring.refresh()
    assert not ring.stale


async def test_a_ring_without_keys_signs_nothing(
    db: Database, feed: ChangeFeed, master_key: MasterKey
) -> None:
    ring = KeyRing(db, feed, master_key)
    with db.transaction() as session:
        ring.load(session)
    assert json.loads(ring.jwks) == {"keys": []}
    with pytest.raises(Unavailable) as refused:
        _ = ring.signer
    assert refused.value.audit == "no signing key is active"


async def test_with_a_foreign_master_key_the_ring_verifies_but_does_not_sign(
    ring: KeyRing, db: Database, feed: ChangeFeed
) -> None:
    foreign = KeyRing(db, feed, MasterKey([Fernet.generate_key().decode()], "IDENTITY_MASTER_KEY"))
    await foreign.refresh()
    assert foreign.find(ring.signer.kid)
    with pytest.raises(Unavailable) as refused:
        _ = foreign.signer
    assert "another master key" in str(refused.value.audit)


async def test_a_key_brought_back_for_another_algorithm_is_built_again(
    db: Database, feed: ChangeFeed, settings: Settings, master_key: MasterKey, clock: Frozen
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ring = KeyRing(db, feed, master_key)

    def bring(session: Session, algorithm: str) -> str:
        material = seal(key, algorithm, master_key)
        return exchange.import_(session, settings, material, activate=True).kid

    def replace(session: Session) -> None:
        rotation.rotate(session, settings, prepare("ES256", master_key), now=True)

    kid = await db.write(lambda session: bring(session, "RS256"))
    await ring.refresh()
    assert ring.signer.algorithm == "RS256"
    await db.write(replace)
    clock.tick(timedelta(hours=2))
    await db.write(lambda session: rotation.tend(session, settings, None))
    await ring.refresh()
    await db.write(lambda session: bring(session, "PS256"))
    await feed.catch_up()
    await ring.refresh()
    found = ring.find(kid)
    assert found is not None
    assert (ring.signer.kid, ring.signer.algorithm, found.alg) == (kid, "PS256", "PS256")
