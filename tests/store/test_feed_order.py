"""The change feed on PostgreSQL, whose writers wait for nobody: whatever becomes visible late, out
of order, after a rollback or in another table is heard once or known as another history."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from identity.store import Database, changes
from identity.store.changes import ChangeFeed
from identity.store.positions import PAGE
from tests.store.test_changes import change, feed, listening

__all__ = ["feed"]
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("dialect", ["postgresql"])]

Connection = psycopg.Connection[Any]
INSERT = "INSERT INTO change (kind, ref, at) VALUES ('user.changed', %s, now()) RETURNING id"


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[[], Connection]]:
    """`connect()`: a plain connection, which begins a transaction with its first statement."""
    with ExitStack() as ends:
        yield lambda: ends.enter_context(psycopg.connect(database_url))


def draw_xid(connection: Connection) -> int:
    return int(connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0])  # type: ignore[index]


def draw_id(connection: Connection, ref: str) -> int:
    return int(connection.execute(INSERT, [ref]).fetchone()[0])  # type: ignore[index]


def refs(heard: list[tuple[str, str, str]]) -> list[str]:
    return [ref for _, _, ref in heard]


async def test_a_lower_id_committed_later_is_heard(
    feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    slow, quick = connect(), connect()
    assert draw_id(slow, "slow") < draw_id(quick, "quick")
    quick.commit()
    await feed.catch_up()
    assert refs(heard) == ["quick"]
    slow.commit()
    await feed.catch_up()
    await feed.catch_up()
    assert refs(heard) == ["quick", "slow"]


async def test_a_lower_transaction_committed_later_is_heard_whatever_its_id(
    feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    old, quick = connect(), connect()
    draw_xid(old)
    draw_id(quick, "quick")
    quick.commit()
    await feed.catch_up()
    draw_id(old, "old")  # a higher id of a lower transaction
    await feed.catch_up()
    old.commit()
    await feed.catch_up()
    assert refs(heard) == ["quick", "old"]


async def test_transactions_rolled_back_do_not_hide_what_comes(
    feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    lost, killed, next_one = connect(), connect(), connect()
    for connection in (lost, killed, next_one):
        draw_xid(connection)
    draw_id(lost, "lost")
    draw_id(killed, "killed")
    await feed.catch_up()
    lost.rollback()
    killed.rollback()
    await feed.catch_up()
    draw_id(next_one, "next")
    next_one.commit()
    await feed.catch_up()
    assert refs(heard) == ["next"]


async def test_long_open_transactions_cost_nothing_but_to_be_named(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    slow = [connect() for _ in range(3)]
    xids = [draw_xid(connection) for connection in slow]
    for n in range(20):
        change(db, ("user.changed", str(n)))
        await feed.catch_up()
    assert feed.position is not None
    assert set(xids) <= feed.position.open
    assert feed.position.floor <= min(xids)
    for connection, ref in zip(slow, ("a", "b", "c"), strict=True):
        draw_id(connection, ref)
        connection.commit()
    await feed.catch_up()
    assert refs(heard) == [*map(str, range(20)), "a", "b", "c"]
    await feed.catch_up()
    assert feed.position.open.isdisjoint(xids)


async def test_a_savepoint_counts_with_its_transaction(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    slow = connect()
    with slow.transaction():
        with slow.transaction():
            draw_id(slow, "inner")
        change(db, ("user.changed", "quick"))
        await feed.catch_up()
        draw_id(slow, "outer")
    await feed.catch_up()
    assert refs(heard) == ["quick", "inner", "outer"]


@pytest.mark.parametrize("late", [False, True])
async def test_a_transaction_larger_than_a_page_is_heard_whole_and_once(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection], late: bool
) -> None:
    heard = listening(feed, "user")
    count = 2 * PAGE + 7
    large = connect()
    large.execute(
        "INSERT INTO change (kind, ref, at) SELECT 'user.changed', n, now()"
        " FROM generate_series(1, %s) n",
        [count],
    )
    if late:
        change(db, ("user.changed", "between"))
        await feed.catch_up()
    large.commit()
    await feed.catch_up()
    await feed.catch_up()
    expected = [str(n) for n in range(1, count + 1)]
    assert refs(heard) == [*(["between"] if late else []), *expected]
    change(db, ("user.changed", "after"))
    await feed.catch_up()
    assert len(heard) == count + 1 + late


async def test_a_page_that_cannot_be_told_moves_nothing(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    """Whoever fails half way through has not heard the rest, and begins anew."""
    failing = [True]

    def fail(verb: str, ref: str) -> None:
        if ref == str(PAGE + 5) and failing:
            failing.clear()
            raise ZeroDivisionError

    feed.listen("user", fail)
    change(db, *(("user.changed", str(n)) for n in range(2 * PAGE)))
    with pytest.raises(RuntimeError):
        await feed.catch_up()
    heard = listening(feed, "user")
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]


async def test_a_prepared_transaction_is_waited_for(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    other = connect()
    other.autocommit = True
    other.execute("BEGIN")
    draw_id(other, "prepared")
    other.execute("PREPARE TRANSACTION 'one'")
    change(db, ("user.changed", "quick"))
    await feed.catch_up()
    other.execute("COMMIT PREPARED 'one'")
    await feed.catch_up()
    assert refs(heard) == ["quick", "prepared"]


async def test_a_table_that_was_made_anew_is_another_history(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    """`pg_restore --clean`: the same rows with the same numbers, and neither identifier nor
    timeline has changed."""
    change(db, ("user.changed", "ada"))
    await feed.catch_up()
    heard = listening(feed, "user")
    restored = connect()
    restored.execute("CREATE TABLE other (LIKE change INCLUDING ALL)")
    restored.execute("INSERT INTO other SELECT * FROM change")
    restored.execute("ALTER TABLE change RENAME TO gone")
    restored.execute("ALTER TABLE other RENAME TO change")
    restored.commit()
    before = feed.position
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]
    assert before is not None and feed.position is not None
    assert before.newest == feed.position.newest
    assert before.history != feed.position.history


async def test_rows_of_another_cluster_hide_nothing(
    db: Database, settings: Any, connect: Callable[[], Connection]
) -> None:
    """Restored from a dump: their transactions have numbers that this cluster will give out."""
    other = connect()
    other.execute("UPDATE change SET xid = '99999999999'")
    other.execute(
        "INSERT INTO change (kind, ref, at, xid)"
        " VALUES ('user.changed', 'foreign', now(), '99999999998')"
    )
    other.commit()
    feed = ChangeFeed(db, settings)
    await feed.catch_up()
    heard = listening(feed, "user")
    change(db, ("user.changed", "own"))
    await feed.catch_up()
    assert refs(heard) == ["own"]
    foreign = "SELECT count(*) FROM change WHERE xid >= '99999999998'"
    assert other.execute(foreign).fetchone() == (0,)
    await feed.close()


async def test_a_feed_whose_connection_was_cut_forgets_everything_and_goes_on(
    db: Database, feed: ChangeFeed, connect: Callable[[], Connection]
) -> None:
    heard = listening(feed, "user")
    change(db, ("user.changed", "unheard"))
    cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    connect().execute(f"{cut} WHERE application_name LIKE %s", ["identity change feed%"])
    await feed.catch_up()
    assert heard == [("user", "reset", "*")]
    change(db, ("user.changed", "next"))
    await feed.catch_up()
    assert heard[1:] == [("user", "changed", "next")]


async def test_writers_do_not_wait_for_each_other(db: Database) -> None:
    with ThreadPoolExecutor() as threads, db.transaction() as session:
        changes.record(session, "user.changed", "first")
        db.finish(session)  # written, and not yet committed
        threads.submit(change, db, ("user.changed", "second")).result(10)


@pytest.mark.parametrize("seed", range(6))
async def test_transactions_in_any_order_are_each_heard_once(
    feed: ChangeFeed, connect: Callable[[], Connection], seed: int
) -> None:
    """What the model in `test_positions` does, on a real server."""
    turn = random.Random(seed)
    heard = listening(feed, "user")
    idle, open_ones = [connect() for _ in range(6)], list[Connection]()
    pending: dict[Connection, list[str]] = {}
    committed: set[str] = set()
    for n in range(150):
        match turn.choice(("begin", "write", "write", "commit", "commit", "roll back", "look")):
            case "begin" if idle:
                open_ones.append(idle.pop())
                draw_xid(open_ones[-1])
                pending[open_ones[-1]] = []
            case "write" if open_ones:
                connection = turn.choice(open_ones)
                draw_id(connection, str(n))
                pending[connection].append(str(n))
            case "commit" | "roll back" as end if open_ones:
                connection = open_ones.pop(turn.randrange(len(open_ones)))
                if end == "commit":
                    connection.commit()
                    committed.update(pending[connection])
                else:
                    connection.rollback()
                idle.append(connection)
            case "look":
                await feed.catch_up()
                assert sorted(refs(heard)) == sorted(committed)
    await feed.catch_up()
    assert sorted(refs(heard)) == sorted(committed)


async def test_a_reader_skips_no_row_whatever_the_writers_do(
    db: Database, feed: ChangeFeed
) -> None:
    """Writers that commit at once, beside writers whose transactions stay open from before the
    others begin until after. What is promised is that each row is told once, and those of one
    writer in their order; what became visible between two looks is told by transaction."""
    writers, each = 6, 60
    heard = listening(feed, "user")
    begun, done = threading.Barrier(writers + 2), threading.Event()

    def write_much(writer: int) -> None:
        begun.wait(60)
        for n in range(each):
            change(db, ("user.changed", f"{writer}.{n}"))

    def write_late(name: str) -> None:
        with db.transaction() as session:
            changes.record(session, "user.changed", f"{name}.late")
            session.connection().exec_driver_sql("SELECT txid_current()")
            begun.wait(60)
            assert done.wait(120)

    async def look_until_all_have_written(writing: list[Future[None]]) -> None:
        while not all(future.done() for future in writing):
            await feed.catch_up()

    with ThreadPoolExecutor(writers + 2) as threads:
        late = [threads.submit(write_late, name) for name in ("one", "other")]
        quick = [threads.submit(write_much, writer) for writer in range(writers)]
        await look_until_all_have_written(quick)
        await feed.catch_up()
        in_time = set(refs(heard))
        done.set()
        await look_until_all_have_written(late)
        for future in (*late, *quick):
            future.result()
    await feed.catch_up()
    told = refs(heard)
    assert len(told) == len(set(told)) == writers * each + 2
    assert len(in_time) == writers * each  # whoever is open holds up nobody
    assert set(told) - in_time == {"one.late", "other.late"}
    for writer in range(writers):
        own = [ref for ref in told if ref.startswith(f"{writer}.")]
        assert own == [f"{writer}.{n}" for n in range(each)]


def test_ids_are_drawn_one_by_one(connect: Callable[[], Connection]) -> None:
    """By them a status list's blocks know which changes are older (`tokens.status.reserving`): a
    connection that drew some in advance would give a later change a lower one."""
    cached = connect().execute(
        "SELECT seqcache FROM pg_sequence"
        " WHERE seqrelid = pg_get_serial_sequence('change', 'id')::regclass"
    )
    assert cached.fetchall() == [(1,)]
