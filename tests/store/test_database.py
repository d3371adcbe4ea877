"""The boundary where work is committed: what is kept, what is rolled back, and that one unit of
work never hurts another."""

import asyncio
import threading
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, text, update
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, func, select

from identity.clock import utcnow
from identity.directory.access.table import Role, RoleScope
from identity.errors import (
    Conflict,
    InvalidGrant,
    InvalidToken,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from identity.service.wiring import open_database
from identity.settings import Settings, SettingsError
from identity.store import Database, Statement, Work, changes, execute, insert_of, insert_unique
from identity.store.table import Change

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
POSTGRES = pytest.mark.parametrize("dialect", ["postgresql"])


def add(name: str) -> Any:
    """A unit of work that adds a role and notes the change."""

    def unit(session: Session) -> str:
        session.add(Role(name=name))
        session.flush()
        changes.record(session, "role.changed", name)
        return name

    return unit


def roles(db: Database) -> list[str]:
    with db.transaction() as session:
        return sorted(session.exec(select(Role.name)).all())


def noted(db: Database) -> list[str]:
    with db.transaction() as session:
        query = select(Change.ref).where(Change.kind == "role.changed")
        return sorted(session.exec(query).all())


async def test_what_a_unit_wrote_is_committed_when_it_returns(db: Database, settings: Any) -> None:
    assert await db.write(add("kept")) == "kept"
    other = open_database(settings)
    assert roles(other) == noted(other) == ["kept"]
    other.close()


@pytest.mark.parametrize(
    "refusal",
    [InvalidGrant("no"), InvalidToken("no"), TooManyRequests(9), Conflict("no"), NotFound("no")],
    ids=lambda error: type(error).__name__,
)
async def test_an_oauth_refusal_keeps_what_was_written_and_others_do_not(
    db: Database, refusal: Any
) -> None:
    def unit(session: Session) -> None:
        add("written")(session)
        raise refusal

    with pytest.raises(type(refusal)) as raised:
        await db.write(unit)
    assert raised.value is refusal
    kept = isinstance(refusal, InvalidGrant | TooManyRequests)
    assert roles(db) == noted(db) == (["written"] if kept else [])


async def test_any_other_exception_rolls_back(db: Database) -> None:
    class Unexpected(Exception):
        pass

    def unit(session: Session) -> None:
        add("lost")(session)
        raise Unexpected

    with pytest.raises(Unexpected):
        await db.write(unit)
    assert roles(db) == noted(db) == []
    await db.write(add("after"))
    assert roles(db) == noted(db) == ["after"]


async def test_a_refusal_while_the_unit_is_committed_rolls_back(db: Database) -> None:
    """What a hook or a late flush raises is no protocol refusal."""

    def unit(session: Session) -> None:
        session.add(RoleScope(role="nosuch", scope="nosuch"))
        raise InvalidGrant("kept, if the database took it")

    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await db.write(unit)
    assert roles(db) == []


async def test_reads_keep_nothing(db: Database) -> None:
    assert await db.read(add("read")) == "read"
    assert roles(db) == noted(db) == []
    with pytest.raises(NotFound):
        await db.read(lambda session: (_ for _ in ()).throw(NotFound("no")))


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_any_exception(
    db: Database,
) -> None:
    with db.transaction() as session:
        add("first")(session)
    with pytest.raises(InvalidGrant), db.transaction() as session:  # noqa: PT012
        add("second")(session)
        raise InvalidGrant("no unit of work: the caller decides")
    assert roles(db) == noted(db) == ["first"]


async def test_a_failing_unit_does_not_hurt_those_committed_with_it(db: Database) -> None:
    """SQLite commits units in groups, each in a savepoint of its own."""
    await db.write(add("taken"))
    started = threading.Event()
    go_on = threading.Event()

    def hold(session: Session) -> str:
        started.set()
        go_on.wait(10)
        return add("holder")(session)

    def fails(number: int) -> Any:
        def unit(session: Session) -> None:
            add(f"failed-{number}")(session)
            if number % 4 == 0:
                raise ZeroDivisionError
            if number % 4 == 1:
                session.execute(text("this is no SQL"))
            if number % 4 == 2:
                session.add(RoleScope(role="nosuch", scope="nosuch"))
            if number % 4 == 3:
                add("taken")(session)

        return unit

    def refuses(number: int) -> Any:
        def unit(session: Session) -> None:
            add(f"refused-{number}")(session)
            raise InvalidGrant("stays")

        return unit

    holder = asyncio.create_task(db.write(hold))
    while not started.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    # All of these wait for the holder, and are then committed together.
    units = [
        unit
        for number in range(12)
        for unit in (add(f"good-{number}"), fails(number), refuses(number))
    ]
    waiting = asyncio.gather(*map(db.write, units), return_exceptions=True)
    await asyncio.sleep(0)
    go_on.set()
    assert await holder == "holder"
    outcomes = await waiting
    for number, (good, failed, refused) in enumerate(
        zip(outcomes[::3], outcomes[1::3], outcomes[2::3], strict=True)
    ):
        assert good == f"good-{number}"
        assert isinstance(failed, Exception) and not isinstance(failed, InvalidGrant)
        assert isinstance(refused, InvalidGrant)
    expected = ["holder", "taken", *(f"{w}-{n}" for n in range(12) for w in ("good", "refused"))]
    assert roles(db) == noted(db) == sorted(expected)


_ADD = Statement(
    lambda: insert(Role).values(
        {
            Role.name: bindparam("name"),
            Role.description: "",
            Role.builtin: False,
            Role.version: 1,
            Role.created_at: bindparam("now"),
            Role.updated_at: bindparam("now"),
        }
    )
)
_NO_SQL = Statement(lambda: text("this is no SQL"))
_GIVE = Statement(lambda: insert_of(RoleScope, {RoleScope.role: "no", RoleScope.scope: "no"}))


def add_plain(name: str) -> Any:
    """As `add`, in the driver's words."""

    def unit(work: Work) -> str:
        execute(work, _ADD, {"name": name, "now": utcnow()})
        changes.record(work, "role.changed", name)
        return name

    return unit


def fails_plain(number: int) -> Any:
    def unit(work: Work) -> None:
        add_plain(f"failed-{number}")(work)
        if number % 4 == 0:
            raise ZeroDivisionError
        if number % 4 == 1:
            execute(work, _NO_SQL, {})
        if number % 4 == 2:
            execute(work, _GIVE, {"no": "no"})
        if number % 4 == 3:
            add_plain("taken")(work)

    return unit


def refuses_plain(number: int) -> Any:
    def unit(work: Work) -> None:
        add_plain(f"refused-{number}")(work)
        raise InvalidGrant("stays")

    return unit


@pytest.mark.parametrize("sessions_among_them", [False, True])
async def test_units_in_the_drivers_words_are_kept_and_rolled_back_like_the_others(
    db: Database, sessions_among_them: bool
) -> None:
    """On SQLite alone in their commit they do without SQLAlchemy; with others they do not."""
    await db.write(add("taken"))
    started, go_on = threading.Event(), threading.Event()

    def hold(work: Work) -> str:
        started.set()
        go_on.wait(10)
        return str(add_plain("holder")(work))

    holder = asyncio.create_task(db.write_plain(hold))
    while not started.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    waiting = [
        asyncio.ensure_future(db.write_plain(unit))
        for number in range(8)
        for unit in (
            add_plain(f"good-{number}"), fails_plain(number), refuses_plain(number)
        )
    ]  # fmt: skip
    among = [f"among-{number}" for number in range(4)] if sessions_among_them else []
    waiting += [asyncio.ensure_future(db.write(add(name))) for name in among]
    await asyncio.sleep(0)
    go_on.set()
    assert await holder == "holder"
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert outcomes[24:] == among
    for number in range(8):
        good, failed, refused = outcomes[3 * number : 3 * number + 3]
        assert good == f"good-{number}"
        assert isinstance(failed, Exception) and not isinstance(failed, InvalidGrant)
        assert isinstance(refused, InvalidGrant)
    kept = [f"{words}-{number}" for number in range(8) for words in ("good", "refused")]
    assert roles(db) == noted(db) == sorted(["holder", "taken", *kept, *among])


_RENAME = Statement(
    lambda: (
        update(Role)
        .where(col(Role.name) == bindparam("named"))
        .values({Role.description: bindparam("words")})
    )
)
_RENAME_ANOTHER = Statement(
    lambda: (
        update(Role)
        .where(col(Role.name) == bindparam("another"))
        .values({Role.description: bindparam("words")})
    )
)


@SQLITE
async def test_statements_that_change_one_row_each_are_kept_and_others_leave_nothing(
    db: Database,
) -> None:
    """All in one commit: what one leaves behind would be the others' too."""
    names = ["alone", "both", "first", "second", "half"]
    for name in names:
        await db.write(add(name))

    def changed(*names: str) -> Awaitable[bool]:
        named, another = names if len(names) == 2 else (*names, "")
        statements = [_RENAME, _RENAME_ANOTHER][: len(names)]
        values = {"named": named, "another": another, "words": "changed"}
        return db.apply(sqlite=statements, postgresql=_RENAME, values=values)

    asked = [("alone",), ("nobody",), ("first", "second"), ("half", "nobody"), ("both", "both")]
    outcomes = await asyncio.gather(*(changed(*each) for each in asked))
    assert outcomes == [True, False, True, False, True]
    with db.transaction() as session:
        words = dict(session.exec(select(Role.name, Role.description)).all())
    assert {name for name in names if words[name] == "changed"} == set(names) - {"half"}


async def test_hundreds_of_writes_at_once_all_commit(db: Database) -> None:
    names = [f"role-{number:03}" for number in range(160)]
    assert await asyncio.gather(*(db.write(add(name)) for name in names)) == names
    assert roles(db) == noted(db) == names


@SQLITE
async def test_what_is_submitted_in_one_round_reaches_the_writer_together(db: Database) -> None:
    begun = threading.Event()

    def first(work: Work) -> str:
        begun.set()
        return str(add_plain("first")(work))

    waited: list[bool] = []
    writes = [asyncio.ensure_future(db.write_plain(first))]
    # The writer would have long begun, were it not for the round.
    asyncio.get_running_loop().call_soon(lambda: waited.append(begun.wait(0.2)))
    writes.append(asyncio.ensure_future(db.write_plain(add_plain("second"))))
    assert await asyncio.gather(*writes) == ["first", "second"]
    assert waited == [False]


@SQLITE
async def test_what_is_submitted_in_the_round_of_the_end_is_kept(
    db: Database, settings: Any
) -> None:
    write = asyncio.ensure_future(db.write_plain(add_plain("last")))
    asyncio.get_running_loop().call_soon(db.close)  # once it is submitted
    assert await asyncio.wait_for(write, 60) == "last"
    other = open_database(settings)
    assert roles(other) == ["last"]
    other.close()


async def test_two_processes_writing_at_once_lose_nothing(db: Database, settings: Any) -> None:
    other = open_database(settings)
    try:
        names = [f"role-{number:03}" for number in range(60)]
        await asyncio.gather(
            *((db if number % 2 else other).write(add(name)) for number, name in enumerate(names))
        )
        assert roles(db) == roles(other) == noted(db) == names
    finally:
        other.close()


async def test_insert_unique_raises_the_conflict_and_leaves_the_unit_usable(db: Database) -> None:
    await db.write(add("taken"))

    def unit(session: Session) -> int:
        add("before")(session)
        with pytest.raises(Conflict, match="the name is taken"):
            insert_unique(session, Role(name="taken"), Conflict("the name is taken"))
        insert_unique(session, Role(name="free"), Conflict("the name is taken"))
        add("after")(session)
        return session.exec(select(func.count()).select_from(Role)).one()

    assert await db.write(unit) == 4
    assert roles(db) == ["after", "before", "free", "taken"]


async def test_inserting_the_same_at_once_succeeds_once(db: Database) -> None:
    def unit(session: Session) -> None:
        insert_unique(session, Role(name="wanted"), Conflict("the name is taken"))

    outcomes = await asyncio.gather(*(db.write(unit) for _ in range(8)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 7 + ["NoneType"]


async def test_a_write_that_is_cancelled_harms_no_other(db: Database) -> None:
    writes = [asyncio.create_task(db.write(add(f"role-{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    for task in writes[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 2:
            assert outcome == f"role-{number}"
            assert f"role-{number}" in roles(db)
    assert await db.write(add("after")) == "after"


async def test_times_are_aware_utc_on_both_databases(db: Database) -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 3, 1, 2, 30, 0, 123456, tzinfo=elsewhere)
    with db.transaction() as session:
        session.add(Role(name="timed", created_at=moment))
    with db.transaction() as session:
        stored = session.get(Role, "timed")
        assert stored is not None
        assert stored.created_at == moment
        assert stored.created_at.tzinfo is UTC
        before = select(Role.name).where(Role.created_at < moment + timedelta(microseconds=1))
        assert session.exec(before).all() == ["timed"]


@SQLITE
async def test_sqlite_is_durable_and_guarded(db: Database) -> None:
    with db.transaction() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Any) -> None:
    file = tmp_path / "deep" / "er" / "new.db"
    Database(Settings.of(database_url=f"sqlite:///{file}")).close()
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="IDENTITY_DATABASE_URL"):
        Database(Settings.of(database_url=f"sqlite:///{tmp_path / 'file' / 'x.db'}"))


@POSTGRES
async def test_a_connection_that_was_cut_is_replaced_without_anyone_noticing(
    db: Database,
) -> None:
    await db.write(add("before"))
    with db.transaction() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    for number in range(10):
        assert await db.write(add(f"after-{number}")) == f"after-{number}"
        assert await db.read(lambda session: session.exec(select(1)).one()) == 1


@POSTGRES
async def test_a_deadlock_is_tried_again(db: Database) -> None:
    await db.write(add("a"))
    await db.write(add("b"))
    meet = threading.Barrier(2, timeout=10)
    tries: list[str] = []

    def locks(first: str, second: str) -> Any:
        def unit(session: Session) -> str:
            tries.append(first)
            session.exec(select(Role).where(Role.name == first).with_for_update()).one()
            if len(tries) <= 2:
                meet.wait()
            session.exec(select(Role).where(Role.name == second).with_for_update()).one()
            return first

        return unit

    outcomes = await asyncio.gather(db.write(locks("a", "b")), db.write(locks("b", "a")))
    assert outcomes == ["a", "b"]
    assert len(tries) > 2


async def test_a_database_that_cannot_be_asked_is_unavailable(settings: Any) -> None:
    db = open_database(settings)

    def broken(session: Session) -> None:
        raise OperationalError("SELECT 1", {}, Exception("the disk is gone"))

    for call in (db.read, db.write):
        with pytest.raises(Unavailable) as raised:
            await call(broken)
        assert "disk" in (raised.value.audit or "")
        assert "disk" not in raised.value.detail
    db.close()
