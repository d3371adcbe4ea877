"""Old events move into files, whose chain and the database's are one: nothing is lost, nothing is
there twice, and nobody changes either unnoticed."""

import io
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import col, func, select

from identity import clock
from identity.records import audit, logs
from identity.records.audit import AuditArchive, AuditEvent, archiving
from identity.records.audit.archive import Examined, Stretch, examine
from identity.records.audit.archiving import Archives, Broken
from identity.service.housekeeping import Housekeeping
from identity.service.wiring import open_database
from identity.store import Database
from tests.world import World

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
DAY = timedelta(days=1)
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archives"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "STRETCH", 5)


@pytest.fixture
def days(db: Database) -> Iterator[clock.Frozen]:
    """Twelve events, four a day, sealed each day; it is the fourth day now."""
    with clock.frozen() as hand:
        for day in range(3):
            happen(db, 4, day)
            hand.tick(DAY)
        yield hand


def happen(db: Database, count: int, day: int = 9) -> None:
    with db.transaction() as session:
        for n in range(count):
            audit.record(
                session, "user.created", subject=f"ü{n}", day=day, one={"b": 1.5, "a": [n]}
            )
    with db.transaction() as session:
        audit.seal(session, KEY)


def make(db: Database, folder: Path, days: float = 1.5, **options: Any) -> list[AuditArchive]:
    horizon = clock.utcnow() - timedelta(days=days)
    return list(Archives(db, folder, [KEY]).make(horizon, **options))


def here(db: Database) -> list[int]:
    with db.transaction() as session:
        return [
            seq or 0 for seq in session.exec(select(AuditEvent.seq).order_by(col(AuditEvent.id)))
        ]


def faults(db: Database, *keys: bytes) -> list[str]:
    with db.transaction() as session:
        return [fault.words for fault in audit.verify(session, keys or (KEY,)).faults]


def read(path: Path, *keys: bytes) -> Examined:
    with path.open("rb") as opened:
        return examine(opened, keys or (KEY,))


def spans(folder: Path) -> list[tuple[int, int]]:
    """First and last event of each file, none of which has a fault, and each continues another."""
    found, digest = [], ""
    for path in sorted(folder.iterdir()):
        examined = read(path)
        assert examined.faults == [] and examined.stretch is not None
        assert examined.stretch.continues == digest
        digest = examined.stretch.digest
        found.append((examined.stretch.first, examined.stretch.last))
    return found


@pytest.mark.usefixtures("days")
def test_old_events_move_into_files_and_the_chain_goes_on(db: Database, folder: Path) -> None:
    made = make(db, folder)
    assert [(one.first, one.last) for one in made] == spans(folder) == [(1, 5), (6, 8)]
    assert here(db) == [9, 10, 11, 12]
    assert faults(db) == []
    assert make(db, folder) == []
    happen(db, 2)
    assert faults(db) == []
    assert [(one.first, one.last) for one in make(db, folder, 0.5)] == [(9, 12)]
    assert spans(folder) == [(1, 5), (6, 8), (9, 12)]
    assert (here(db), faults(db)) == ([13, 14], [])
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("days")
def test_all_may_go_and_the_next_event_continues_the_chain(db: Database, folder: Path) -> None:
    make(db, folder, 0)
    assert (here(db), faults(db)) == ([], [])
    happen(db, 1)
    assert (here(db), faults(db)) == ([13], [])


@pytest.mark.usefixtures("days")
def test_what_is_not_sealed_or_not_full_stays(db: Database, folder: Path) -> None:
    with db.transaction() as session:
        audit.record(session, "user.created")
    assert [(one.first, one.last) for one in make(db, folder, -1, whole=True)] == [(1, 5), (6, 10)]
    assert here(db) == [11, 12, 0]


@pytest.mark.usefixtures("days")
def test_an_event_that_an_archive_has_is_missing_nowhere_else(db: Database, folder: Path) -> None:
    """The record of archives is signed: nobody hides what they deleted behind it."""
    make(db, folder)
    for forgery, words in (
        ("DELETE FROM audit_archive WHERE first = 6", "events 6 to 8 are missing"),
        ("DELETE FROM audit_archive WHERE first = 1", "does not follow event 0"),
        ("UPDATE audit_archive SET digest = 'x' WHERE last = 8", "is not ours"),
        ("UPDATE audit_archive SET last = 9 WHERE last = 8", "is not ours"),
        ("UPDATE audit_archive SET first = 7 WHERE first = 6", "does not follow event 5"),
        ("UPDATE audit_archive SET signature = 'ü' WHERE first = 6", "is not ours"),
        ("UPDATE audit_event SET seq = 8 WHERE seq = 9", "stands where another one is archived"),
        ("DELETE FROM audit_event WHERE seq = 9", "events 9 to 9 are missing"),
    ):
        with db.engine.connect() as connection:
            connection.execute(text(forgery))
            with archiving.Session(connection) as session:
                found = [fault.words for fault in audit.verify(session, [KEY]).faults]
            connection.rollback()
        assert any(words in fault for fault in found), (forgery, found)
    assert faults(db) == []


@pytest.mark.usefixtures("days")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit_event SET actor = 'eve' WHERE seq = 2",
        "UPDATE audit_event SET actor = 'eve' WHERE seq = 12",
        "DELETE FROM audit_event WHERE seq = 3",
        "DELETE FROM audit_event WHERE seq = 12",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET signature = 'x'",
    ],
)
def test_a_broken_chain_is_not_archived_and_so_not_signed(
    db: Database, folder: Path, damage: str
) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(damage))
    before = here(db)
    with pytest.raises(Broken):
        make(db, folder)
    assert (list(folder.iterdir()), here(db)) == ([], before)


@pytest.mark.usefixtures("days")
def test_a_chain_rewritten_from_the_start_is_not_signed(db: Database, folder: Path) -> None:
    """Each link is right, but no head of ours vouches for it."""
    digest = ""
    with db.transaction() as session:
        for event in session.exec(select(AuditEvent).order_by(col(AuditEvent.seq))).all():
            event.outcome = "refused"
            assert event.seq
            event.digest = digest = audit.chain.link(digest, event.seq, event)
            session.add(event)
    with pytest.raises(Broken, match="not the one that was sealed"):
        make(db, folder)


@pytest.mark.usefixtures("days")
def test_what_follows_is_looked_through_as_far_as_a_head_that_was_signed(
    db: Database, folder: Path
) -> None:
    """Not to its end, each day anew: the head of the archive before vouches for event 12."""
    make(db, folder)
    happen(db, 4)
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE audit_event SET actor = 'eve' WHERE seq = 14"))
    assert [(one.first, one.last) for one in make(db, folder, 0.5)] == [(9, 12)]
    with pytest.raises(Broken, match="event 14"):
        make(db, folder, -1)


# --- Cut off, and at once -------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["new_file", "lines", "examine", "_record", "utcnow"])
@pytest.mark.parametrize("later", [1.5, 0.5])
def test_cut_off_at_any_moment_nothing_is_lost_and_nothing_archived_twice(
    db: Database,
    folder: Path,
    days: Any,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    later: float,
) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        place = Archives if moment == "_record" else archiving
        patch.setattr(place, moment, killed)
        if moment == "examine":  # once the first is on record: before the second
            patch.undo()
            made = Archives(db, folder, [KEY]).make(clock.utcnow() - 1.5 * DAY)
            next(made)
            made.close()  # type: ignore[attr-defined]
        elif moment == "utcnow":
            horizon = clock.utcnow() - 1.5 * DAY
            with pytest.raises(Killed):
                list(Archives(db, folder, [KEY]).make(horizon))
        else:
            with pytest.raises(Killed):
                make(db, folder)
    (folder / ".audit-000000000001-x.jsonl.123").write_text("a draft that was left")
    assert faults(db) == []
    make(db, folder, later)
    last = 8 if later == 1.5 else 12
    assert here(db) == list(range(last + 1, 13))
    assert [n for first, end in spans(folder) for n in range(first, end + 1)] == [
        *range(1, last + 1)
    ]
    assert faults(db) == []


def test_a_file_of_the_same_name_that_is_none_of_ours_is_not_replaced(
    db: Database, folder: Path, days: Any
) -> None:
    folder.mkdir()
    with db.transaction() as session:
        digest = session.exec(select(AuditEvent.digest).where(AuditEvent.seq == 5)).one()
    foreign = folder / Stretch(1, "", 5, str(digest)).file
    foreign.write_text("precious")
    with pytest.raises(Broken, match="is not the archive of these events"):
        make(db, folder)
    assert (foreign.read_text(), here(db)) == ("precious", list(range(1, 13)))


@pytest.mark.parametrize("shared", [True, False])
def test_two_at_once_make_one(
    db: Database, settings: Any, folder: Path, days: Any, tmp_path: Path, shared: bool
) -> None:
    """The second comes while the first has written its file and not deleted anything; in another
    folder (another machine's) nothing of it stays."""
    other = open_database(settings)
    theirs = folder if shared else tmp_path / "elsewhere"
    archives, raced = Archives(db, folder, [KEY]), list[list[AuditArchive]]()

    def written(stretch: Stretch) -> bool:
        done = Archives._written(archives, stretch)
        raced.append(make(other, theirs, 0.5))
        return done

    object.__setattr__(archives, "_written", written)
    made = list(archives.make(clock.utcnow() - 1.5 * DAY))
    other.close()
    if shared:
        assert raced == [[], []]
        assert [one.first for one in made] == [1, 6]
    else:
        assert (made, [one.first for one in raced[0]]) == ([], [1, 6, 11])
        assert list(folder.iterdir()) == []
    assert faults(db) == []
    assert spans(theirs)[0] == (1, 5)


# --- A file on its own ----------------------------------------------------------------------


@pytest.fixture
def file(db: Database, folder: Path, days: Any) -> Path:
    make(db, folder, 0, whole=True)
    return min(folder.iterdir())


@SQLITE
def test_a_file_that_was_tampered_with_has_a_fault(file: Path) -> None:
    whole = file.read_bytes().splitlines(keepends=True)
    assert len(whole) == 7

    def words(*lines: bytes, keys: tuple[bytes, ...] = (KEY,)) -> str:
        return "; ".join(examine(io.BytesIO(b"".join(lines)), keys).faults)

    assert words(*whole) == ""
    assert words(*whole, keys=(OTHER_KEY, KEY)) == ""
    assert "not by a master key in force" in words(*whole, keys=(OTHER_KEY,))
    changed = whole[2].replace(b'"day":0', b'"day":1')
    assert words(*whole[:2], changed, *whole[3:]) == "line 3: event 2 or its place was changed"
    assert "event 3 stands where 2 belongs" in words(*whole[:2], *whole[3:])
    assert "event 3 stands where 2 belongs" in words(*whole[:2], whole[3], whole[2], *whole[4:])
    assert words(*whole[:-1]) == "line 7: is missing: the archive was cut off"
    assert words(*whole[:-1], whole[-1][:-1]) == "line 7: is cut off"
    assert "do not end where the archive does" in words(*whole[:-2], whole[-1])
    assert "comes after the end" in words(*whole, whole[1])
    assert words() == "line 1: is missing: the archive was cut off"
    twice = whole[1].replace(b'{"actor"', b'{"actor":"eve","actor"')
    assert words(whole[0], twice, *whole[2:]).startswith("line 2: was changed")
    another_start = whole[0].replace(b'"continues":""', b'"continues":"x"')
    assert "event 1 or its place" in words(another_start, *whole[1:])


@pytest.fixture(scope="module")
def octets(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small archive, not of any database."""
    from identity.records.audit.archive import Event, lines
    from identity.records.audit.chain import linked

    digest, events = "", []
    for seq in (1, 2, 3):
        members = [
            "2026-11-25T00:00:00+00:00", "login", "refused", "user", None, "ü", "shop",
            "192.0.2.1", None, {"why": "wrong password", "n": [1, 2.5, True, None]},
        ]  # fmt: skip
        digest = linked(digest, seq, seq + 7, members)
        events.append(Event(seq, seq + 7, members, digest))
    return b"".join(lines(Stretch(1, "", 3, digest), events, KEY))


@given(data=st.data())
def test_no_octet_of_a_file_changes_unnoticed(octets: bytes, data: st.DataObject) -> None:
    assert examine(io.BytesIO(octets), [KEY]).faults == []
    start = data.draw(st.integers(0, len(octets)))
    end = data.draw(st.integers(start, min(len(octets), start + 40)))
    other = octets[:start] + data.draw(st.binary(max_size=40)) + octets[end:]
    found = examine(io.BytesIO(other), [KEY])
    assert bool(found.faults) == (other != octets)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_a_file_holds_is_a_fault_and_no_error(octets: bytes) -> None:
    for content in (octets, octets + b"\n", b'{"archive":1,"continues":"","first":1}\n' + octets):
        assert examine(io.BytesIO(content), [KEY]).faults
    nested = b"[" * 5000 + b"]" * 5000
    assert examine(io.BytesIO(b'{"a":' + nested + b"}\n"), [KEY]).faults


# --- The service ----------------------------------------------------------------------------


def kept(world: World) -> int:
    with world.change() as session:
        return session.exec(select(func.count()).select_from(AuditEvent)).one()


@pytest.fixture
def settings(make_settings: Callable[..., Any], folder: Path) -> Any:
    return make_settings(audit_retention="30d", audit_archive=folder)


async def test_the_service_archives_what_is_older_than_its_retention(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "STRETCH", 10_000)
    housekeeping = Housekeeping(world.services)
    world.user()
    with clock.frozen() as hand:
        await world.log_in()
        await housekeeping.write_audit()
        before = kept(world)
        for more, left in ((timedelta(days=30, hours=1), before), (DAY, 0)):
            hand.tick(more)
            await housekeeping.archive_audit()
            assert kept(world) == left
    (file,) = os.listdir(folder)
    found = read(folder / file, *world.services.master.derive_all("audit"))
    assert found.faults == [] and found.stretch is not None
    assert found.stretch.last == before
    await world.log_in()
    assert len(await world.events("login")) == 1
    with world.change() as session:
        assert audit.verify(session, world.services.master.derive_all("audit")).faults == []


@pytest.fixture
def obstructed(folder: Path) -> None:
    folder.write_text("not a folder")


@SQLITE
@pytest.mark.usefixtures("obstructed")
async def test_a_folder_that_cannot_be_written_to_is_said_and_nothing_lost(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    logs.configure(world.services.settings.logs)  # into what is captured here
    housekeeping = Housekeeping(world.services)
    await housekeeping.write_audit()
    with clock.frozen() as hand:
        hand.tick(40 * DAY)
        before = kept(world)
        await housekeeping.archive_audit()
    assert kept(world) == before
    logs.flush()
    assert "audit not archived" in capsys.readouterr().err
