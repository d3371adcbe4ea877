"""The audit in partitions: the same events, the same chain, the same statements; made while others
write, ahead of those who need them, and dropped when they are empty."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from identity import clock
from identity.errors import Unavailable
from identity.records import audit
from identity.records.audit import AuditEvent, archiving, chain, partitions
from identity.records.audit.reading import matching
from identity.service.housekeeping import Housekeeping
from identity.service.tables import metadata
from identity.settings import SettingsError
from identity.store import Database, contracting, migrating
from tests.world import World

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"])

KEY = b"k" * 32
SIZE = 20


@pytest.fixture
def whole(db: Database) -> Database:
    """Thirty events in one piece, sealed."""
    if audit_parts(db):
        pytest.skip("TEST_PARTITIONED: it is in partitions already")
    happen(db, 30)
    return db


@pytest.fixture
def parted(whole: Database) -> Database:
    """The same in partitions, of which the second begins at 51."""
    assert partitions.convert(whole, SIZE, 20)
    return whole


def happen(db: Database, count: int) -> None:
    with db.transaction() as session:
        for n in range(count):
            audit.record(session, "user.created", subject=f"subject {n % 3}", n=n)
    with db.transaction() as session:
        while audit.seal(session, KEY):
            pass


def audit_parts(db: Database) -> list[partitions.Part]:
    with db.transaction() as session:
        return partitions.parts(session)


def names(db: Database) -> list[str]:
    return [part.name for part in audit_parts(db)]


def tend(db: Database) -> partitions.Tended:
    with db.transaction() as session:
        return partitions.tend(session)


def faults(db: Database) -> list[str]:
    with db.transaction() as session:
        return [fault.words for fault in audit.verify(session, [KEY]).faults]


def ids(db: Database) -> list[int]:
    with db.transaction() as session:
        return [*session.exec(select(AuditEvent.id).order_by(col(AuditEvent.id)))]  # type: ignore[list-item]


def lies(db: Database) -> dict[str, int]:
    """How many events lie in which partition."""
    query = "SELECT tableoid::regclass::text, count(*) FROM audit_event GROUP BY 1"
    with db.engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(text(query))}


def test_events_of_before_stay_and_those_of_after_lie_where_their_ids_say(
    whole: Database,
) -> None:
    before = ids(whole)
    assert partitions.convert(whole, SIZE, 20)
    assert audit_parts(whole) == [
        partitions.Part("audit_event_first", None, 51),
        partitions.Part("audit_event_51", 51, 71),
        partitions.Part("audit_event_71", 71, 91),
    ]
    assert ids(whole) == before
    happen(whole, 70)
    assert lies(whole) == {
        "audit_event_first": 50, "audit_event_51": 20, "audit_event_71": 20, "audit_event_rest": 10,
    }  # fmt: skip
    assert ids(whole) == list(range(1, 101))
    assert faults(whole) == []


def test_it_is_done_once(parted: Database) -> None:
    found = audit_parts(parted)
    assert not partitions.convert(parted, SIZE, 20)
    assert audit_parts(parted) == found


def test_cut_off_at_any_step_it_is_whole_and_done_by_the_next_attempt(
    whole: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = partitions._run, 0

    class CutOff(Exception):
        pass

    while audit_parts(whole) == []:
        left = steps

        def some(session: Any, statement: str) -> None:
            nonlocal left
            if left == 0:
                raise CutOff
            left -= 1
            run(session, statement)

        monkeypatch.setattr(partitions, "_run", some)
        with pytest.raises(CutOff):
            partitions.convert(whole, SIZE, 1_000)
        steps += 1
        happen(whole, 1)
        assert faults(whole) == []
    # Of the last attempt nothing was missing but what is known of the rows.
    assert steps > 20
    assert len(audit_parts(whole)) == 1 + partitions.AHEAD
    assert ids(whole) == list(range(1, 31 + steps))
    monkeypatch.setattr(partitions, "_run", run)
    assert not partitions.convert(whole, SIZE, 1_000)


def test_whoever_was_cut_off_and_did_not_come_back_gets_no_event_refused(
    whole: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(partitions, "_swap", cut_off)
    with pytest.raises(KeyboardInterrupt):
        partitions.convert(whole, SIZE, 100)  # ids stay below 131
    monkeypatch.setattr(partitions, "MARGIN", 100)
    happen(whole, 40)
    assert tend(whole) == partitions.Tended([], [])
    happen(whole, 20)  # to 90
    assert tend(whole).dropped == ["audit_event_ck_before"]
    happen(whole, 60)
    assert ids(whole) == list(range(1, 151))


def test_two_who_make_partitions_at_once_make_them_once(whole: Database) -> None:
    begun, done = threading.Barrier(2), []

    def at_once() -> None:
        begun.wait(10)
        try:
            done.append(partitions.convert(whole, SIZE, 100))
        except SettingsError as refusal:
            done.append(str(refusal))

    threads = [threading.Thread(target=at_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.count(True) == 1, done
    assert len(audit_parts(whole)) == 1 + partitions.AHEAD
    assert ids(whole) == list(range(1, 31))


def test_writers_meanwhile_lose_nothing(whole: Database) -> None:
    stop, written = threading.Event(), [0, 0]

    def write(number: int) -> None:
        while not stop.is_set():
            with whole.transaction() as session:
                audit.record(session, "user.created", subject=f"writer {number}")
            written[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert partitions.convert(whole, 1_000, 10_000)
        counted = sum(written)
        while sum(written) < counted + 20:
            assert all(thread.is_alive() for thread in threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    happen(whole, 1)
    assert len(ids(whole)) == 31 + sum(written)
    assert faults(whole) == []


def test_whoever_reads_for_long_is_not_waited_for_and_nobody_waits_behind(
    whole: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE_ONCE", "50ms")
    with whole.snapshot() as reader:
        assert reader.execute(text("SELECT count(*) FROM audit_event")).scalar() == 30
        with pytest.raises(SettingsError, match="nothing has changed, try again"):
            partitions.convert(whole, SIZE, 20)
    assert audit_parts(whole) == []
    assert partitions.convert(whole, SIZE, 20)


def test_who_may_read_and_write_may_do_so_still(whole: Database) -> None:
    with whole.engine.begin() as connection:
        for statement in (
            "DROP ROLE IF EXISTS audit_reader",
            "CREATE ROLE audit_reader",
            "GRANT SELECT ON audit_event TO audit_reader",
            "GRANT INSERT ON audit_event TO audit_reader WITH GRANT OPTION",
        ):
            connection.execute(text(statement))
        owned = "SELECT relowner FROM pg_class WHERE oid = 'audit_event'::regclass"
        owner = connection.execute(text(owned)).scalar()
    partitions.convert(whole, SIZE, 20)
    may = "SELECT has_table_privilege('audit_reader', 'audit_event', '{}')"
    with whole.engine.begin() as connection:
        granted = {
            right: connection.execute(text(may.format(right))).scalar()
            for right in (
                "SELECT",
                "INSERT WITH GRANT OPTION",
                "SELECT WITH GRANT OPTION",
                "DELETE",
            )
        }
        assert connection.execute(text(owned)).scalar() == owner
        connection.execute(text("DROP OWNED BY audit_reader"))
        connection.execute(text("DROP ROLE audit_reader"))
    assert granted == {
        "SELECT": True, "INSERT WITH GRANT OPTION": True, "SELECT WITH GRANT OPTION": False,
        "DELETE": False,
    }  # fmt: skip


@pytest.fixture
def owned(whole: Database) -> Iterator[Database]:
    """The table is another's than ours, who may do everything; and somebody may write into it."""
    begin = (
        "CREATE ROLE audit_owner", "CREATE ROLE audit_writer",
        "GRANT CREATE ON SCHEMA public TO audit_owner",
        "ALTER TABLE audit_event OWNER TO audit_owner",
        "GRANT SELECT, INSERT, DELETE ON audit_event TO audit_writer",
        "GRANT USAGE ON SEQUENCE audit_event_id_seq TO audit_writer",
        "GRANT SELECT ON SEQUENCE audit_event_id_seq TO audit_writer",
    )  # fmt: skip
    end = (
        "REASSIGN OWNED BY audit_owner TO CURRENT_USER",
        "DROP OWNED BY audit_owner, audit_writer",
        "DROP ROLE audit_owner, audit_writer",
    )
    for statements in (begin, end):
        with whole.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        if statements is begin:
            yield whole


def tend_as(db: Database, role: str) -> partitions.Tended:
    with db.transaction() as session:
        session.execute(text(f"SET LOCAL ROLE {role}"))
        return partitions.tend(session)


def test_whoever_runs_it_all_of_it_is_the_owners_who_tends_and_migrates_it(
    owned: Database,
) -> None:
    assert partitions.convert(owned, SIZE, 20)
    happen(owned, 75)
    with owned.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event WHERE id <= 70"))
    tended = tend_as(owned, "audit_owner")
    assert tended.made == ["audit_event_126", "audit_event_146"]
    assert tended.dropped == ["audit_event_first"]
    assert tend_as(owned, "audit_owner").dropped == ["audit_event_51"]
    with owned.engine.begin() as connection:
        owners = connection.execute(
            text(
                "SELECT DISTINCT relowner::regrole::text FROM pg_class"
                " WHERE relname LIKE 'audit\\_event%' AND relkind IN ('r', 'p', 'S')"
            )
        )
        assert [*owners.scalars()] == ["audit_owner"]
        connection.execute(text("SET LOCAL ROLE audit_owner"))
        connection.execute(text("ALTER TABLE audit_event ADD COLUMN later integer"))


def test_who_may_make_no_tables_tends_nothing_and_writes_on(owned: Database) -> None:
    assert partitions.convert(owned, SIZE, 20)
    happen(owned, 80)  # to 110, of which twenty are among the rest
    assert tend_as(owned, "audit_writer") == partitions.Tended([], [])
    with owned.transaction() as session:
        session.execute(text("SET LOCAL ROLE audit_writer"))
        audit.record(session, "user.created", subject="a writer")
        session.flush()
    assert lies(owned)["audit_event_rest"] == 21
    assert tend_as(owned, "audit_owner").made == ["audit_event_132", "audit_event_152"]


def test_only_the_uniqueness_of_places_is_each_partitions_own(parted: Database) -> None:
    ours = {*names(parted), "audit_event_rest"}
    with parted.engine.connect() as connection:
        connection.dialect.ischema_names["xid8"] = BigInteger  # type: ignore[attr-defined]

        def compared(name: str | None, kind: str, parents: Any) -> bool:
            partition = kind == "table" and name in ours
            return not partition and migrating.compared(name, kind, parents)

        opts = {"include_name": compared, "version_table": contracting.version_table(connection)}
        found = compare_metadata(MigrationContext.configure(connection, opts=opts), metadata)
    assert [(kind, thing.name) for kind, thing in found] == [
        ("add_constraint", "uq_audit_event_seq")
    ]
    for name, free in (
        ("audit_event_first", 31),
        ("audit_event_51", 51),
        ("audit_event_rest", 999),
    ):
        twice = text(
            f"INSERT INTO {name} (id, at, event, outcome, actor_type, detail, seq)"
            f" SELECT {free} + n, at, event, outcome, actor_type, detail, 7000 FROM audit_event,"
            " generate_series(0, 1) n WHERE id = 1"
        )
        with pytest.raises(IntegrityError, match="uq_audit_event"), parted.engine.begin() as once:
            once.execute(twice)


def test_a_later_migration_reaches_every_partition(parted: Database) -> None:
    with parted.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event ADD COLUMN later integer"))
        connection.execute(text("CREATE INDEX ix_audit_event_later ON audit_event (later)"))
        connection.execute(text("ALTER TABLE audit_event DROP COLUMN later"))
    happen(parted, 60)  # and what is made after it fits
    assert tend(parted).made
    assert faults(parted) == []


# --- How it is asked ------------------------------------------------------------------------


def plan(db: Database, statement: Any, **values: Any) -> str:
    compiled = statement.compile(db.engine)
    with db.engine.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        given = compiled.construct_params(values)
        shown = connection.exec_driver_sql(f"EXPLAIN {compiled}", given)
        return "\n".join(row[0] for row in shown)


def touched(shown: str) -> set[str]:
    return {name for name in ("first", "51", "71", "rest") if f"audit_event_{name}" in shown}


def test_what_goes_by_id_looks_at_one_partition(parted: Database) -> None:
    happen(parted, 70)
    assert touched(plan(parted, select(AuditEvent).where(AuditEvent.id == 60))) == {"51"}
    assert touched(plan(parted, chain._PLACE, event_id=60, place=1, link="x")) == {"51"}
    below = select(AuditEvent).where(col(AuditEvent.id) < 40).order_by(col(AuditEvent.id).desc())
    assert touched(plan(parted, below.limit(10))) == {"first"}


def test_lists_walk_the_partitions_in_order_and_sort_nothing(parted: Database) -> None:
    happen(parted, 70)
    for query in (matching(), matching(subject="subject 1")):
        shown = plan(parted, query.order_by(col(AuditEvent.id).desc()).limit(10))
        assert "Append" in shown and "->  Sort" not in shown, shown
    by_place = select(AuditEvent).where(col(AuditEvent.seq) >= 40).order_by(col(AuditEvent.seq))
    shown = plan(parted, by_place)
    assert "Append" in shown and "->  Sort" not in shown, shown


# --- Ahead and behind -----------------------------------------------------------------------


def test_partitions_are_there_before_they_are_needed(parted: Database) -> None:
    assert tend(parted) == partitions.Tended([], [])
    happen(parted, 25)  # the last is 55
    assert tend(parted).made == ["audit_event_91"]
    happen(parted, 20)
    assert tend(parted).made == ["audit_event_111"]
    happen(parted, 50)
    assert "audit_event_rest" not in lies(parted)
    assert faults(parted) == []


def test_what_came_while_nobody_tended_is_kept_and_the_next_lie_above(parted: Database) -> None:
    happen(parted, 100)  # to 130: past 91
    assert lies(parted)["audit_event_rest"] == 40
    assert tend(parted).made == ["audit_event_151", "audit_event_171"]
    happen(parted, 40)
    found = lies(parted)
    assert (found["audit_event_rest"], found["audit_event_151"]) == (60, 20)
    assert ids(parted) == list(range(1, 171))
    assert faults(parted) == []


def test_what_still_holds_an_event_stays_and_so_does_all_behind_it(parted: Database) -> None:
    happen(parted, 75)  # to 105
    with parted.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event WHERE id > 50 AND id <= 70"))
    assert tend(parted).dropped == []
    assert names(parted)[:3] == ["audit_event_first", "audit_event_51", "audit_event_71"]


def test_the_oldest_are_dropped_once_all_of_theirs_is_in_files(
    parted: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "STRETCH", 5)
    happen(parted, 75)
    tend(parted)
    horizon = clock.utcnow() + timedelta(days=1)
    assert list(archiving.Archives(parted, tmp_path, [KEY]).make(horizon))
    tended = tend(parted)
    assert tended.dropped == ["audit_event_first", "audit_event_51", "audit_event_71"]
    happen(parted, 10)
    assert len(ids(parted)) == 10
    assert faults(parted) == []


def test_an_id_that_was_drawn_long_ago_is_written_after_its_partition_has_gone(
    parted: Database,
) -> None:
    happen(parted, 75)
    with parted.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event WHERE id <= 50"))
    assert tend(parted).dropped == ["audit_event_first"]
    with parted.transaction() as session:
        session.add(
            AuditEvent(id=33, at=clock.utcnow(), event="late", outcome="success", actor_type="cli")
        )
    assert lies(parted)["audit_event_rest"] >= 1
    assert 33 in ids(parted)


def test_a_writer_under_way_keeps_its_partition(
    parted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE", "50ms")
    happen(parted, 75)
    tend(parted)
    with parted.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event WHERE id <= 50"))
    with parted.engine.begin() as writer:
        writer.execute(
            text(
                "INSERT INTO audit_event (id, at, event, outcome, actor_type, detail)"
                " VALUES (33, now(), 'late', 'success', 'cli', '{}')"
            )
        )
        with pytest.raises(Unavailable):
            tend(parted)
    assert tend(parted).dropped == []
    assert 33 in ids(parted)


async def test_a_running_service_tends_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    db = world.services.db
    housekeeping = Housekeeping(world.services)
    if not audit_parts(db):
        await housekeeping.tend_partitions()  # of what is in one piece nothing is made
        assert audit_parts(db) == []
        partitions.convert(db, SIZE, 20)
    before = len(audit_parts(db))
    happen(db, 100)
    await housekeeping.tend_partitions()
    assert len(audit_parts(db)) == before + partitions.AHEAD


def test_two_at_once_make_each_partition_once(parted: Database) -> None:
    happen(parted, 25)
    begun, made = threading.Barrier(2), []

    def at_once() -> None:
        begun.wait(10)
        made.append(tend(parted).made)

    threads = [threading.Thread(target=at_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) in ([[], ["audit_event_91"]],)
    assert names(parted).count("audit_event_91") == 1
