"""SQLite cannot be asked: a 503, and back by oneself."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlmodel import Session

from identity.directory.access.table import Role
from identity.errors import Unavailable
from identity.store import Database, deadlines, writer
from tests.faults.refusing import says_try_again
from tests.world import FORM, World

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for a lock for 20 ms instead of three seconds and a half."""
    for name in ("BUDGET", "LEAST"):
        monkeypatch.setattr(deadlines, name, 0.02)
    monkeypatch.setattr(writer, "PATIENCE", 0.01)


async def test_a_writer_that_does_not_let_go_is_a_503_for_writes_only(
    world: World, database_url: str
) -> None:
    world.user()
    shop = world.client()
    known = await world.log_in()
    assert await world.active(known["access_token"])
    await world.act(shop)  # places in a status list are reserved with a client's first token
    path = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert says_try_again(await world.refresh(known["refresh_token"]))
        assert says_try_again(await world.revoke(known["refresh_token"]))
        assert says_try_again(
            await world.api.post(
                "/token",
                content="grant_type=password&username=ada&password=wrong+password",
                headers={"content-type": FORM},
            )
        )
        # Nothing was committed meanwhile, so what is remembered is true.
        assert await world.active(known["access_token"])
        assert await world.active((await world.act(shop))["access_token"])
        other.execute("ROLLBACK")
    assert (await world.refresh(known["refresh_token"])).status_code == 200


async def test_who_waits_too_long_is_refused_and_who_came_later_is_not(
    db: Database, database_url: str
) -> None:
    """One after the other they would each wait as long as the first one had."""

    def add(session: Session) -> None:
        session.add(Role(name="patient"))

    async def by_request(unit: Callable[[Session], None]) -> None:
        deadlines.arrived()
        await db.write(unit)

    path = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        early = asyncio.create_task(by_request(lambda session: None))
        chore = asyncio.create_task(db.write(add))
        with pytest.raises(Unavailable):
            await early
        with pytest.raises(Unavailable):
            await by_request(lambda session: None)
        assert not chore.done()
        other.execute("ROLLBACK")
    await chore
    with db.transaction() as session:
        assert session.get(Role, "patient") is not None


async def test_a_log_that_another_process_recovers_is_waited_for_too(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's word for that is a kind of its own of being busy."""
    await db.write(lambda session: None)
    drive, refused = writer._driver, []

    class Recovering:
        def execute(self, text: str) -> None:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            refused.append(text)
            raise error

    def driver(connection: Any) -> Any:
        return drive(connection) if refused else Recovering()

    monkeypatch.setattr(writer, "_driver", driver)
    await db.write(lambda session: None)
    assert refused == ["BEGIN IMMEDIATE"]


async def test_a_change_feed_that_cannot_read_its_file_is_a_503(
    world: World, database_url: str
) -> None:
    world.user()
    known = await world.log_in()
    assert await world.active(known["access_token"])
    assert world._checker is not None
    source: Any = world.services.feed._source
    path, source._path = source._path, f"{source._path}-elsewhere"
    await source.close()
    source._connection = None
    for _ in range(2):
        answer = await world.api.post(
            "/introspect",
            data={"token": known["access_token"]},
            headers=world._checker.basic,
        )
        assert says_try_again(answer)
        assert (await world.api.get("/.well-known/jwks.json")).status_code == 200
    source._path = path
    assert await world.active(known["access_token"])
