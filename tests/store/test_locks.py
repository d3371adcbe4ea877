"""Advisory locks: one table of them, and on PostgreSQL one holder at a time."""

from pathlib import Path

import pytest

import identity
from identity.settings import Settings
from identity.store import Database
from identity.store.locks import Lock, take, try_to_take


def test_a_lock_keeps_its_number_for_the_versions_that_share_a_database() -> None:
    assert {lock.name: lock.value for lock in Lock} == {
        "MIGRATION": int.from_bytes(b"migrate"),
        "FIRST_START": int.from_bytes(b"boot\0\0\0"),
        "KEYS": int.from_bytes(b"keys\0\0"),
        "AUDIT_CHAIN": int.from_bytes(b"audit\0\0"),
        "REGISTRATIONS": int.from_bytes(b"registe"),
        "CONFIGURATION": int.from_bytes(b"apply\0\0"),
        "CHANGES": int.from_bytes(b"identity") >> 1,
    }


def test_nobody_takes_an_advisory_lock_that_is_not_in_the_table() -> None:
    package = Path(identity.__file__).parent
    where = {path.name for path in package.rglob("*.py") if "pg_advisory" in path.read_text()}
    assert where == {"locks.py"}


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_one_holds_a_lock_until_its_transaction_ends_and_no_other_lock_with_it(
    database_url: str,
) -> None:
    db = Database(Settings.of(database_url=database_url))
    try:
        for lock in Lock:
            with db.transaction() as first:
                take(first, lock)
                take(first, lock)
                with db.transaction() as second:
                    assert {each for each in Lock if try_to_take(second, each)} == {*Lock} - {lock}
            with db.transaction() as third:
                assert try_to_take(third, lock)
    finally:
        db.close()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_on_sqlite_the_write_transaction_is_the_lock(database_url: str) -> None:
    db = Database(Settings.of(database_url=database_url))
    try:
        with db.transaction() as session:
            take(session, Lock.KEYS)
            assert all(try_to_take(session, lock) for lock in Lock)
    finally:
        db.close()
