"""Beside a version that reads the change feed by id writers take turns, until the last such reader
has gone; then none starts any more. `tests/upgrade` has the real one beside this."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from identity.service.wiring import open_database
from identity.settings import Settings, SettingsError
from identity.store import Database, changes, contracting, migrating
from identity.store.changes import ChangeFeed
from identity.store.locks import Lock
from identity.store.turns import CONTRACTED, EXPANDED
from tests.store.test_changes import change, feed

__all__ = ["feed"]
pytestmark = pytest.mark.parametrize("dialect", ["postgresql"])

BY_ID = "SELECT id, ref FROM change WHERE id >= %s ORDER BY id LIMIT 1000"
"""What the version before asks, as it asks it."""
AGAIN = f"ALTER TABLE {CONTRACTED} RENAME TO {EXPANDED}"
RESTORED = {
    "failover": [AGAIN],
    "pg_restore --clean": [AGAIN, f"CREATE TABLE {CONTRACTED} AS SELECT '0001' AS version_num"],
}
"""What leaves a database of before the contracting: one that lost it, and one that removes only
what it knows of."""


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Of a database that has come from the version before."""
    settings = make_settings()
    with psycopg.connect(settings.database.database_url.get_secret_value()) as connection:
        connection.execute(AGAIN)
    return settings


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracting, "WATCHED", 0.3)


@pytest.fixture
def older(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The change feed's connection of a process of the version before."""
    with psycopg.connect(
        database_url, autocommit=True, application_name="identity change feed"
    ) as connection:
        yield connection


def take_turns(db: Database) -> None:
    """Write while another writer has drawn its id and not committed: the second must wait."""
    drawn, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with db.transaction() as session:
            changes.record(session, "user.changed", "first")
            db.finish(session)
            drawn.set()
            go_on.wait(10)

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(first)
        drawn.wait(10)
        second: Future[None] = threads.submit(change, db, ("user.changed", "second"))
        with pytest.raises(TimeoutError):
            second.result(0.3)
        go_on.set()
        second.result(10)
        writing.result(10)


def write_side_by_side(db: Database) -> None:
    """Write while another writer has drawn its id and not committed: the second is done first."""
    with ThreadPoolExecutor() as threads, db.transaction() as session:
        changes.record(session, "user.changed", "first")
        db.finish(session)
        threads.submit(change, db, ("user.changed", "second")).result(10)


def test_a_reader_by_id_misses_nothing_while_writers_take_turns(
    db: Database, older: psycopg.Connection[Any]
) -> None:
    ((seen,),) = older.execute("SELECT max(id) FROM change").fetchall()
    told, done = list[str](), threading.Event()

    def write(writer: int) -> None:
        for n in range(30):
            change(db, ("user.changed", f"{writer}.{n}"))

    with ThreadPoolExecutor() as threads:
        writing = [threads.submit(write, writer) for writer in range(4)]
        while not done.is_set():
            if all(future.done() for future in writing):
                done.set()
            for number, ref in older.execute(BY_ID, [seen + 1]).fetchall():
                seen, _ = number, told.append(ref)
        for future in writing:
            future.result()
    assert sorted(told) == sorted(f"{writer}.{n}" for writer in range(4) for n in range(30))


def test_writers_of_the_version_before_are_waited_for(
    db: Database, older: psycopg.Connection[Any]
) -> None:
    with ThreadPoolExecutor() as threads:
        with older.transaction():
            older.execute("SELECT pg_advisory_xact_lock(%s)", [int(Lock.CHANGES)])
            waiting = threads.submit(change, db, ("user.changed", "ours"))
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        waiting.result(10)


@pytest.mark.parametrize("name", contracting.OLDER)
def test_nothing_is_contracted_while_an_older_process_is_connected(
    settings: Settings, database_url: str, db: Database, name: str
) -> None:
    with (
        psycopg.connect(database_url, application_name=name) as older,
        pytest.raises(
            SettingsError, match=rf"{name} from 127.0.0.1 \(pid {older.info.backend_pid}"
        ),
    ):
        contracting.contract(settings)
    take_turns(db)


async def test_writers_wait_for_nobody_once_contracted(
    settings: Settings, db: Database, feed: ChangeFeed
) -> None:
    take_turns(db)
    assert contracting.contract(settings)
    assert not contracting.contract(settings)
    write_side_by_side(db)
    await feed.catch_up()
    assert migrating.upgrade(settings) == (migrating.head(), migrating.head())


@pytest.mark.parametrize("how", RESTORED)
async def test_a_database_of_before_has_writers_take_turns_again(
    settings: Settings, db: Database, feed: ChangeFeed, how: str
) -> None:
    contracting.contract(settings)
    change(db, ("user.changed", "free"))
    with db.transaction() as session:
        for statement in (*RESTORED[how], "DELETE FROM change"):
            session.execute(text(statement))
    await feed.catch_up()  # another history
    take_turns(db)
    at_head = (migrating.head(), migrating.head())
    assert migrating.upgrade(settings) == at_head
    if len(RESTORED[how]) > 1:
        with pytest.raises(SettingsError, match=f"a table {CONTRACTED} beside {EXPANDED}"):
            contracting.contract(settings)
        with db.transaction() as session:
            session.execute(text(f"DROP TABLE {CONTRACTED}"))
    assert contracting.contract(settings)
    write_side_by_side(db)
    assert migrating.upgrade(settings) == at_head


def test_a_new_database_has_never_had_older_readers(empty_database_url: str) -> None:
    settings = Settings.of(database_url=empty_database_url)
    migrating.upgrade(settings)
    assert not contracting.contract(settings)
    db = open_database(settings)
    write_side_by_side(db)
    db.close()


def test_what_others_have_on_the_search_path_means_nothing(
    settings: Settings, database_url: str
) -> None:
    contracting.contract(settings)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shared")
        connection.execute(f"CREATE TABLE shared.{EXPANDED} (version_num text)")
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, shared')
    db = open_database(settings)
    write_side_by_side(db)
    db.close()
