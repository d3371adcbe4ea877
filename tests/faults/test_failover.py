"""A standby is promoted, and the old primary lives on, comes back or has lost something: nothing
that was revoked is live, and nothing is read from a server that was left behind."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from identity.opaque import new_id
from identity.service.wiring import open_database
from identity.settings import Settings
from identity.tokens.sessions import lifecycle
from tests.databases import Postgres, migrate, wait_until
from tests.faults.refusing import says_try_again
from tests.world import Caller, World

pytestmark = pytest.mark.deadlines


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its standby."""
    primary = Postgres()
    standby = Postgres(standby_of=primary)
    yield primary, standby
    for server in (primary, standby):
        server.remove()


@pytest.fixture
def database_url(pair: tuple[Postgres, Postgres]) -> str:
    """As libpq writes it, with both hosts."""
    primary, standby = pair
    url = primary.create()
    both = url.replace(
        f"127.0.0.1:{primary.port}", f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    )
    migrate(both)
    return both


@contextmanager
def elsewhere(server: Postgres, database_url: str) -> Iterator[Any]:
    """A transaction of another process, at `server`."""
    url = server.url(database_url.rpartition("/")[2])
    db = open_database(Settings.of(database_url=url))
    with db.transaction() as session:
        yield session
    db.close()


async def answers(world: World, token: str) -> None:
    async with asyncio.timeout(10):
        while (await introspect(world, token)).status_code != 200:
            pass


async def introspect(world: World, token: str) -> Any:
    assert world._checker is not None
    return await world.api.post("/introspect", data={"token": token}, headers=world._checker.basic)


async def test_an_old_primary_that_comes_back_is_not_believed(
    world: World, pair: tuple[Postgres, Postgres], database_url: str
) -> None:
    primary, standby = pair
    world.user()
    known = [await world.log_in() for _ in range(12)]
    sids = [(await world.introspect(login["access_token"]))["sid"] for login in known]
    wait_until(lambda: standby.has_replayed(primary), 10, lambda: "the standby lags")
    with primary.frozen():
        standby.promote()
        await answers(world, known[0]["access_token"])
    # The old one is back, with the connections that were kept to it.
    with elsewhere(standby, database_url) as session:
        for sid in sids:
            lifecycle.end(session, sid, "test")
    for _ in range(2):
        each = [await world.active(login["access_token"]) for login in known]
        assert each == [False] * 12
        refreshed = [await world.active(login["refresh_token"]) for login in known]
        assert refreshed == [False] * 12
    numbers = (await world.api.get("/metrics")).text
    assert "identity_database_timeline 2.0" in numbers
    assert 'identity_change_feed_resets_total{cause="history"}' in numbers
    late = await world.log_in()
    assert await world.active(late["access_token"])
    # And alone it is not enough: what it knows is old.
    standby.stop()
    assert says_try_again(await introspect(world, late["access_token"]))
    assert says_try_again(await world.me(late["access_token"]))
    assert says_try_again(await world.api.get("/readyz"))
    standby.start()
    await answers(world, late["access_token"])
    assert await world.active(late["access_token"])


async def test_a_failover_that_lost_changes_is_another_history(
    world: World, pair: tuple[Postgres, Postgres], database_url: str
) -> None:
    """What is written afterwards has the ids of what was lost, while nobody asked."""
    primary, standby = pair
    world.user()
    login = await world.log_in()
    sid = (await world.introspect(login["access_token"]))["sid"]
    sibling = world.client("sibling", scopes=["introspect"])
    wait_until(lambda: standby.has_replayed(primary), 10, lambda: "the standby lags")
    standby.stop()
    insert = (
        "INSERT INTO change (id, kind, ref, at) VALUES"
        " ((SELECT max(id) + 1 FROM change), 'session.ended', %s, now()) RETURNING id"
    )
    name = database_url.rpartition("/")[2]
    with psycopg.connect(primary.url(name)) as connection:
        lost = connection.execute(insert, [new_id()]).fetchone()
    before = await poll(world, sibling)
    assert await world.active(login["access_token"])
    primary.kill()
    standby.start()
    standby.promote()
    with psycopg.connect(standby.url(name)) as connection:
        connection.execute("UPDATE session SET ended_at = now() WHERE id = %s", [sid])
        assert connection.execute(insert, [sid]).fetchone() == lost
    await answers(world, login["access_token"])
    assert not await world.active(login["access_token"])
    after = await poll(world, sibling, after=before["position"])
    assert after["reset"] is True
    assert sid in [entry["ref"] for entry in after["entries"]]


async def poll(world: World, sibling: Caller, **query: Any) -> Any:
    answer = await world.api.get("/revocations", params=query, headers=sibling.basic)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_primary_that_takes_no_more_writes_is_a_503_everywhere(
    world: World, pair: tuple[Postgres, Postgres], database_url: str
) -> None:
    """As PostgreSQL is just before a switchover, or where its disk is full."""
    primary, _ = pair
    world.user()
    login = await world.log_in()
    token = login["access_token"]
    assert await world.active(token)

    def read_only(value: str) -> None:
        with psycopg.connect(primary.url(), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")

    read_only("on")
    async with asyncio.timeout(5):
        while (await introspect(world, token)).status_code != 503:
            pass
    for _ in range(3):
        assert says_try_again(await introspect(world, token))
        assert says_try_again(await world.me(token))
        assert says_try_again(await world.refresh(login["refresh_token"]))
        assert says_try_again(await world.api.get("/readyz"))
        assert says_try_again(await world.revoke(login["refresh_token"]))
    read_only("off")
    await answers(world, token)
    assert await world.active(token)
