"""Changes that took over half a minute to be committed, or whose commit got no answer, are recorded
once more, when siblings can still be told in time."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event
from sqlmodel import col, select

from identity.clock import Frozen, frozen, utcnow
from identity.errors import Unavailable
from identity.store import Database, Work, changes
from identity.store.changes import record_late
from identity.store.late import SLOW, Written
from identity.store.table import Change
from tests.store.test_changes import change

pytestmark = pytest.mark.anyio
POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"])
LATER = SLOW + timedelta(seconds=1)


@pytest.fixture
def clock() -> Iterator[Frozen]:
    with frozen() as hand:
        yield hand


def recorded(db: Database, ref: str) -> list[datetime]:
    """When `ref` was recorded."""
    with db.transaction() as session:
        query = select(Change.at).where(Change.ref == ref).order_by(col(Change.id))
        return list(session.exec(query).all())


def record(work: Work) -> None:
    changes.record(work, "client.changed", "ada")
    changes.record(work, "client.changed", "bob")


@pytest.mark.parametrize("way", ["write", "write_plain", "transaction"])
async def test_what_took_long_to_commit_is_recorded_once_more(
    db: Database, clock: Frozen, way: str
) -> None:
    waits = [LATER]
    db.before_commit.append(lambda work: clock.tick(waits.pop()) if waits else None)
    if way == "transaction":
        change(db, ("client.changed", "ada"), ("client.changed", "bob"))
    else:
        await getattr(db, way)(record)
    assert waits == []
    for _ in range(2):
        await record_late(db)
        for ref in ("ada", "bob"):
            first, second = recorded(db, ref)
            assert second - first == LATER


async def test_what_took_less_is_not(db: Database, clock: Frozen) -> None:
    db.before_commit.append(lambda work: clock.tick(SLOW))
    await db.write(record)
    await db.write_plain(record)
    db.before_commit.pop()
    await record_late(db)
    assert len(recorded(db, "ada")) == 2


async def test_what_could_not_be_recorded_again_still_waits(
    db: Database, clock: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.before_commit.append(lambda work: clock.tick(LATER))
    await db.write(record)
    db.before_commit.pop()

    async def fail(unit: Any) -> Any:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(db, "write", fail)
        with pytest.raises(Unavailable):
            await record_late(db)
    await record_late(db)
    assert len(recorded(db, "ada")) == 2


@POSTGRESQL
@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_that_got_no_answer_is_recorded_again_if_it_was_one(
    db: Database, database_url: str, committed: bool
) -> None:
    def end_and_cut(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        if committed:
            raw.commit()
            raw.execute("SELECT 1")  # whoever commits learns of nothing but the cut
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])

    event.listen(db.engine, "commit", end_and_cut)
    with pytest.raises(Unavailable):
        await db.write(record)
    for _ in range(2):  # to record it again gets no answer either
        with pytest.raises(Unavailable):
            await record_late(db)
        assert len(db.late.waiting) == 1
    event.remove(db.engine, "commit", end_and_cut)
    await record_late(db)
    assert len(recorded(db, "ada")) == (4 if committed else 0)
    assert db.late.waiting == []


@POSTGRESQL
async def test_a_commit_that_is_still_under_way_is_waited_for(
    db: Database, database_url: str
) -> None:
    with psycopg.connect(database_url) as slow:
        found = slow.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert found is not None
        lost = Written((("client.changed", "ada"),), utcnow(), str(int(found[0]) + 1_000_000))
        db.late.waiting += [Written((("client.changed", "ada"),), utcnow(), found[0]), lost]
        await record_late(db)
        assert recorded(db, "ada") == []
        slow.commit()
    await record_late(db)
    assert len(recorded(db, "ada")) == 1
