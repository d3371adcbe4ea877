"""A server that says nothing at all: everybody hears so within four seconds, nothing is cancelled,
and what hung is let go."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from identity.errors import Unavailable
from identity.service.wiring import open_database
from identity.settings import Settings
from identity.store import Statement, changes, deadlines
from identity.store.connections import FEED
from tests.databases import Postgres, migrate
from tests.faults.refusing import says_try_again
from tests.world import PASSWORD, World

pytestmark = pytest.mark.deadlines

SOON = 4.0
"""Seconds from a request to its refusal."""


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture
def database_url(mortal: Postgres) -> Iterator[str]:
    url = mortal.create()
    migrate(url)
    yield url
    mortal.drop(url)


def _said(words: str) -> Statement:
    return Statement(lambda: text(words))


async def timed(answering: Awaitable[httpx.Response]) -> tuple[float, httpx.Response]:
    began = time.monotonic()
    answer = await answering
    return time.monotonic() - began, answer


async def test_a_frozen_server_is_a_503_within_four_seconds_everywhere(
    world: World, mortal: Postgres
) -> None:
    world.user()
    shop = world.client()
    known = await world.log_in()
    assert await world.active(known["access_token"])
    assert world._checker is not None
    checker = world._checker.basic

    def questions() -> list[Awaitable[httpx.Response]]:
        return [
            world.api.post("/introspect", data={"token": known["access_token"]}, headers=checker),
            world.token(grant_type="password", username="ada", password=PASSWORD),
            world.refresh(known["refresh_token"]),
            world.token(shop, grant_type="client_credentials"),
            world.me(known["access_token"]),
            world.api.get("/readyz"),
        ]

    with mortal.frozen():
        first = [asyncio.create_task(timed(question)) for question in questions()]
        await asyncio.sleep(1.5)  # these come while the others' question is under way
        second = [asyncio.create_task(timed(question)) for question in questions()]
        answers = await asyncio.gather(*first, *second)
        # And these find no connection, and must make one.
        answers += await asyncio.gather(*map(timed, questions()))
        assert (await world.api.get("/healthz")).status_code == 200
    assert [answer.status_code for _, answer in answers] == [503] * len(answers)
    assert all(says_try_again(answer) for _, answer in answers)
    assert max(took for took, _ in answers) < SOON
    async with asyncio.timeout(5):
        while not await world.active(known["access_token"]):
            pass
    assert (await world.api.get("/readyz")).status_code == 200


async def test_more_requests_than_connections_are_refused_as_soon(
    world: World, mortal: Postgres
) -> None:
    """Who waits for a place, or for a thread, has no longer to wait than who has one."""
    world.user()
    db = world.services.db
    await asyncio.gather(*(world.log_in() for _ in range(3)))

    async def refused(asking: Awaitable[Any]) -> float:
        began = time.monotonic()
        with pytest.raises(Exception, match="database cannot be reached"):
            await asking
        return time.monotonic() - began

    deadlines.arrived()
    with mortal.frozen():
        took = await asyncio.gather(
            *(refused(db.query(_said("SELECT 1"), {})) for _ in range(20)),
            *(
                refused(db.read(lambda session: session.execute(text("SELECT 1"))))
                for _ in range(20)
            ),
        )
    assert max(took) < SOON


async def test_a_question_that_is_given_up_is_not_cancelled(
    world: World, mortal: Postgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel would end a commit's wait for its standby: committed here, and not there."""
    sent: list[str] = []
    for kind in (psycopg.Connection, psycopg.AsyncConnection):
        monkeypatch.setattr(kind, "cancel", lambda self: sent.append("cancel"))
        monkeypatch.setattr(kind, "_cancel_gen", lambda self, **_: sent.append("cancel"))
    db = world.services.db
    asking = asyncio.create_task(db.query(_said("SELECT pg_sleep(60)"), {}))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    asking.cancel()
    await asyncio.wait([asking], timeout=2)
    assert asking.cancelled()
    assert time.monotonic() - began < 1
    assert sent == []
    assert (await db.query(_said("SELECT 7"), {})) == [(7,)]


async def test_a_commit_that_no_longer_waits_for_its_standby_is_refused(tmp_path: Any) -> None:
    """PostgreSQL says so in a notice, and the commit succeeds: nobody knows if it will last."""
    server = Postgres(options=["synchronous_commit=on"])
    try:
        url = server.create()
        migrate(url)
        db = open_database(Settings.of(database_url=url))
        with psycopg.connect(server.url(), autocommit=True) as other:
            other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            other.execute("SELECT pg_reload_conf()")

            async def end_the_wait() -> None:
                ended = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
                waiting = f"{ended} WHERE wait_event = 'SyncRep'"
                while other.execute(waiting).fetchone() == (0,):  # noqa: ASYNC110 - theirs
                    await asyncio.sleep(0.02)

            async def is_unknown(writing: Awaitable[Any]) -> None:
                _, raised = await asyncio.gather(end_the_wait(), writing, return_exceptions=True)
                assert isinstance(raised, Unavailable), raised

            await is_unknown(
                db.write(lambda session: changes.record(session, "user.changed", "ada"))
            )
            written = "INSERT INTO change (kind, ref, at) VALUES ('user.changed', 'bob', now())"
            await is_unknown(db.apply(sqlite=[], postgresql=_said(written), values={}))
            other.execute("ALTER SYSTEM RESET synchronous_standby_names")
            other.execute("SELECT pg_reload_conf()")
        await db.aclose()
    finally:
        server.remove()


async def test_no_more_connections_are_open_than_the_setting_says(
    world: World, database_url: str, settings: Any
) -> None:
    world.user()
    shop = world.client()
    for _ in range(3):
        logins = await asyncio.gather(
            *(world.log_in() for _ in range(4)),
            *(world.act(shop) for _ in range(30)),
            *(world.api.get("/readyz") for _ in range(30)),
        )
        await asyncio.gather(*(world.active(login["access_token"]) for login in logins[:34]))
    with psycopg.connect(database_url) as other:
        names = other.execute(
            "SELECT application_name, count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() GROUP BY 1"
        ).fetchall()
    counts = dict(names)
    assert counts.pop(FEED) == 1
    assert 2 <= sum(counts.values()) <= settings.database.database_pool, counts
