"""Writers of the change feed where a commit takes 5 ms, as with a synchronous standby, and what its
reader's question costs (docs/decisions/0006-the-change-feed.md)."""

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
from sqlmodel import Session

from bench.report import Figure
from identity.clock import utcnow
from identity.service.opening import open_database
from identity.settings import Settings
from identity.store import Database, changes, migrating
from identity.store.feed_postgresql import PostgresSource
from identity.store.positions import Position
from tests.databases import Postgres

LATENCY = ("commit_delay=5000", "commit_siblings=0")
"""Microseconds that PostgreSQL waits in a commit, though nobody else commits."""
WRITERS = 32
ROWS = 20_000
QUESTIONS = 300
BY_ID = "SELECT id, kind, ref FROM change WHERE id >= %s ORDER BY id LIMIT 1000"
"""The question of the version that had its writers take turns."""


def writers(options: argparse.Namespace) -> list[Figure]:
    server = Postgres(durable=True, options=LATENCY)
    try:
        url = server.create()
        settings = Settings.of(database_url=url, database_pool=2 * WRITERS)
        migrating.upgrade(settings)
        plain, by_write = [], []
        for _ in range(options.rounds):
            one = _plain(url, 1, options.seconds)
            plain.append(_plain(url, WRITERS, options.seconds) / one)
            by_write.append(asyncio.run(_by_write(settings, options.seconds)) / one)
        quiet, while_open = asyncio.run(_questions(settings, url, options.rounds))
    finally:
        server.remove()
    name = f"changes committed at 5 ms by {WRITERS}"
    return [
        Figure(f"{name} connections, × by one", statistics.median(plain), "×", at_least=10),
        Figure(f"{name} × Database.write, × by one connection", statistics.median(by_write), "×"),
        Figure("the change feed's question, × by id", quiet, "×", at_most=1.1),
        Figure("the same while writers are open, × by id", while_open, "×", at_most=2.2),
    ]


def _plain(url: str, count: int, seconds: float) -> float:
    """Changes a second, by what `record` runs."""
    statement = changes.INSERT_ALL.postgresql.text
    values = {"kinds": ["user.changed"], "refs": ["ada"], "at": utcnow()}
    begun, until = threading.Barrier(count), [0.0]

    def write() -> int:
        with psycopg.connect(url) as connection:
            begun.wait(30)
            until[0] = time.perf_counter() + seconds
            written = 0
            while time.perf_counter() < until[0]:
                connection.execute(statement, values)
                connection.commit()
                written += 1
            return written

    with ThreadPoolExecutor(count) as threads:
        return sum(threads.map(lambda _: write(), range(count))) / seconds


async def _by_write(settings: Settings, seconds: float) -> float:
    db = open_database(settings)

    def unit(session: Session) -> None:
        changes.record(session, "user.changed", "ada")

    async def write(until: float) -> int:
        written = 0
        while time.perf_counter() < until:
            await db.write(unit)
            written += 1
        return written

    try:
        await asyncio.gather(*(db.write(unit) for _ in range(WRITERS)))  # connects
        until = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(write(until) for _ in range(WRITERS)))) / seconds
    finally:
        await db.aclose()


async def _questions(settings: Settings, url: str, rounds: int) -> tuple[float, float]:
    """What the feed's question takes in times of the one by id, asked in turn with it: while no
    writer is open, and while three are."""
    db = open_database(settings)
    source = PostgresSource(url, db.histories)
    older = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=1)
    try:
        _fill(db)
        quiet = await _ratio(source, await source.begin(), older, rounds)
        with _open_writers(url, 3):
            with db.transaction() as session:
                changes.record(session, "user.changed", "newest")
            position = await source.begin()
            assert len(position.open) == 3
            return quiet, await _ratio(source, position, older, rounds)
    finally:
        await older.close()
        await source.close()
        await db.aclose()


async def _ratio(
    source: PostgresSource,
    position: Position,
    older: "psycopg.AsyncConnection[tuple[int, str, str]]",
    rounds: int,
) -> float:
    async def by_id() -> None:
        async with asyncio.timeout(5):
            cursor = await older.execute(BY_ID, [position.newest.id], prepare=True)
            await cursor.fetchall()

    ratios = []
    for _ in range(rounds + 1):  # the first one warms
        ours, theirs = [], []
        for _ in range(QUESTIONS):
            began = time.perf_counter()
            await source.follow(position, list)
            between = time.perf_counter()
            await by_id()
            ours.append(between - began)
            theirs.append(time.perf_counter() - between)
        # Of each the quickest tenth: what neighbours take is no matter of the question's.
        ratios.append(statistics.quantiles(ours, n=10)[0] / statistics.quantiles(theirs, n=10)[0])
    return statistics.median(ratios[1:])


def _fill(db: Database) -> None:
    for _ in range(ROWS // 1_000):
        with db.transaction() as session:
            for n in range(1_000):
                changes.record(session, "user.changed", f"u-{n}")
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE change")


@contextmanager
def _open_writers(url: str, count: int) -> Iterator[None]:
    with ExitStack() as ends:
        for _ in range(count):
            writer = ends.enter_context(psycopg.connect(url))
            writer.execute("SELECT pg_current_xact_id()")
        yield
