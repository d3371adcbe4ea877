"""SQLite's WAL index: no commit of anybody goes unnoticed, and looking at it harms no lock."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from identity.service.wiring import open_database
from identity.store import Database, changes
from identity.store.changes import ChangeFeed
from identity.store.wal import WalIndex

COMMITS = 500

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

ANOTHER_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    connection.execute(line)
    print(flush=True)
"""


def path_of(db: Database) -> str:
    return str(db.engine.url.database)


@contextmanager
def another_process(path: str) -> Iterator[Any]:
    """Executes statements there; each has been committed on return."""
    command = [sys.executable, "-c", ANOTHER_PROCESS, path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def execute(statement: str) -> None:
        told: IO[str] = process.stdin  # type: ignore[assignment]
        heard: IO[str] = process.stdout  # type: ignore[assignment]
        told.write(statement + "\n")
        told.flush()
        assert heard.readline() == "\n"

    try:
        yield execute
    finally:
        process.communicate(timeout=10)


def questions(feed: ChangeFeed) -> list[str]:
    """What the feed asks its connection from now on."""
    asked: list[str] = []
    feed._sqlite._connection.set_trace_callback(asked.append)  # type: ignore[union-attr]
    return asked


@sqlite_only
async def test_nothing_is_asked_as_long_as_nobody_commits(db: Database, settings: Any) -> None:
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    await feed.catch_up()
    asked = questions(feed)
    for _ in range(100):
        await feed.catch_up()
    assert asked == []
    with db.transaction() as session:
        changes.record(session, "user.changed", "ada")
    await feed.catch_up()
    assert asked != []
    await feed.close()


@sqlite_only
async def test_every_commit_of_another_process_is_noticed_at_once(
    db: Database, settings: Any
) -> None:
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    heard: list[str] = []
    feed.listen("user", lambda verb, ref: heard.append(ref))
    insert = (
        "INSERT INTO change (kind, ref, at) VALUES ('user.changed', '{}', '2026-01-01 00:00:00')"
    )
    with another_process(path_of(db)) as execute:
        for number in range(COMMITS):
            execute(insert.format(number))
            await feed.catch_up()
            await feed.catch_up()
            assert heard[-1:] == [str(number)]
            if number % 100 == 50:  # the log begins anew, and with it its index
                execute("PRAGMA wal_checkpoint(TRUNCATE)")
                await feed.catch_up()
    assert heard == [str(number) for number in range(COMMITS)]
    await feed.close()


@sqlite_only
async def test_a_commit_that_changes_nothing_of_ours_is_looked_at_once(
    db: Database, settings: Any
) -> None:
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    await feed.catch_up()
    asked = questions(feed)
    with another_process(path_of(db)) as execute:
        execute("CREATE TABLE foreign_matter (id INTEGER)")
    for _ in range(10):
        await feed.catch_up()
    assert len(asked) == 1
    await feed.close()


@sqlite_only
async def test_whoever_lets_go_of_the_index_drops_no_lock_of_another_connection(
    db: Database, settings: Any
) -> None:
    """Closing a descriptor of a file would: then the last to leave elsewhere deletes the log that
    is in use here."""
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    before = inode(path_of(db) + "-shm")
    second = open_database(settings)
    other = ChangeFeed(second, settings)
    await other.catch_up()
    await other.close()
    second.close()
    with another_process(path_of(db)) as execute:
        execute("INSERT INTO change (kind, ref, at) VALUES ('user.changed', 'ada', '2026-01-01')")
    assert inode(path_of(db) + "-shm") == before
    heard: list[str] = []
    feed.listen("user", lambda verb, ref: heard.append(ref))
    await feed.catch_up()
    assert heard == ["ada"]
    await feed.close()


@sqlite_only
async def test_a_lost_connection_is_followed_by_the_index_of_the_next(
    db: Database, settings: Any
) -> None:
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    await feed.catch_up()
    source = feed._sqlite
    assert source is not None
    assert source._connection is not None
    source._connection.close()
    source._connection = None
    with db.transaction() as session:
        changes.record(session, "user.changed", "ada")
    heard: list[str] = []
    feed.listen("user", lambda verb, ref: heard.append(ref))
    await feed.catch_up()
    assert heard == ["ada"]
    await feed.close()


def test_a_database_without_such_a_log_has_no_index(tmp_path: Path) -> None:
    path = str(tmp_path / "plain.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE thing (id INTEGER)")
        assert WalIndex.of(path) is None


@sqlite_only
def test_descriptors_are_closed_with_the_last_database(settings: Any) -> None:
    async def look() -> None:
        db = open_database(settings)
        feed = ChangeFeed(db, settings)
        await feed.catch_up()
        name = path_of(db) + "-shm"
        assert name in opened()
        await feed.close()
        await db.aclose()
        assert name not in opened()

    asyncio.run(look())


def inode(name: str) -> int:
    return Path(name).stat().st_ino


def opened() -> list[str]:
    folder = Path("/proc/self/fd")
    return [str(each.readlink()) for each in folder.iterdir() if each.is_symlink()]
