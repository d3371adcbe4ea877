"""This version's servers beside one of the version before, on one database: what either ends is
ended at the other, until the older ones have gone and `identity migrate --contract` says so."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from identity.store import changes
from identity.store.turns import CONTRACTED
from identity.tokens.sessions import lifecycle
from tests.databases import ROOT, environment, migrate, partition
from tests.faults.replicas import CLIENT, Line, settings_of
from tests.upgrade.conftest import Beside

pytestmark = pytest.mark.slow

IN_PRODUCTION = {
    "ENVIRONMENT": "production",
    "ISSUER": "https://identity.test",
    "BCRYPT_ROUNDS": "12",
    "TEST_WEAK_HASHING": "0",
}
WHAT_IS_THERE = (
    "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns"
    " WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    f"SELECT version_num FROM {CONTRACTED}",
    "SELECT id FROM client ORDER BY 1",
    "SELECT id FROM user_account ORDER BY 1",
)


REFUSED = (
    ({}, ("migrate",), "already exists"),
    ({}, ("serve", "--port", "1"), "already exists"),
    ({}, ("doctor",), "the database's schema is behind this version"),
    (IN_PRODUCTION, ("serve", "--port", "1"), "the database's schema is behind this version"),
)
"""What the version before says on a database that is not for it. A development server migrates by
itself, one in production only looks."""


def run(
    settings: dict[str, str], *arguments: str, code: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """A command of either version."""
    return subprocess.run(
        [sys.executable, "-m", "identity", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(settings["KEYS_DIR"]).parent,
        env=environment(code, **settings),
    )


def refuses(settings: dict[str, str], code: Path, ways: int) -> None:
    """The version before says so in a line, and leaves the database as it was."""
    found = what_is_there(settings["DATABASE_URL"])
    for changed, arguments, words in REFUSED[:ways]:
        done = run(settings | changed, *arguments, code=code)
        said = done.stdout + done.stderr
        assert (done.returncode, words in said, "Traceback" in said) == (1, True, False), said
    assert what_is_there(settings["DATABASE_URL"]) == found


def what_is_there(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        return [connection.execute(question).fetchall() for question in WHAT_IS_THERE]


def revoke_and_ask(revoking: Line, asking: Line) -> None:
    token = revoking.issue()
    assert asking.active(token)
    revoking.revoke(token)
    assert not asking.active(token)


def test_what_either_version_revokes_is_revoked_at_the_other(beside: Beside) -> None:
    with beside.lines() as (older, newer):
        for _ in range(20):
            revoke_and_ask(older, newer)
            revoke_and_ask(newer, older)


def test_many_writers_of_both_versions_hide_nothing_from_either(beside: Beside) -> None:
    def write(writer: int) -> None:
        with beside.lines() as lines:
            for n in range(15):
                revoke_and_ask(*(lines if (writer + n) % 2 else lines[::-1]))

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, writer) for writer in range(4)]:
            done.result()


def test_the_older_hears_of_a_change_that_was_slow_to_commit(beside: Beside) -> None:
    """A reader by id would pass it by if other writers did not wait for it."""
    db, user = beside.newer.db, beside.newer.user()
    drawn, go_on = threading.Event(), threading.Event()

    def end_slowly() -> None:
        with db.transaction() as session:
            lifecycle.end_all(session, "for the test", user_id=user.id)
            db.finish(session)  # it has its ids, and is not committed
            drawn.set()
            assert go_on.wait(20)

    with beside.lines() as (older, newer), ThreadPoolExecutor() as threads:
        hers, other = older.log_in(user.username)["access_token"], older.issue()
        slow = threads.submit(end_slowly)
        assert drawn.wait(20)
        quick: Future[None] = threads.submit(newer.revoke, other)
        with pytest.raises(TimeoutError):
            quick.result(0.3)
        assert older.active(hers)
        assert older.active(other)
        go_on.set()
        slow.result(20)
        quick.result(20)
        assert not older.active(hers)
        assert not older.active(other)


def test_both_versions_write_one_chain_into_partitions_made_beneath_them(beside: Beside) -> None:
    user = beside.newer.user()
    with beside.lines() as (older, newer):
        for line in (older, newer):
            line.log_in(user.username)
        partition(beside.settings["DATABASE_URL"])
        for _ in range(20):
            for line in (older, newer):
                answer = line.refresh(line.log_in(user.username)["refresh_token"])
                assert answer.status == 200
        revoke_and_ask(older, newer)
    assert beside.newer.faults() == []
    with psycopg.connect(beside.settings["DATABASE_URL"]) as connection:
        query = "SELECT count(DISTINCT tableoid) > 1, count(*) >= 40 FROM audit_event"
        assert connection.execute(query).fetchone() == (True, True)


def test_nothing_is_contracted_before_the_last_older_process_has_gone(
    start_beside: Callable[[], Beside], code_before: Path
) -> None:
    beside = start_beside()
    refused = run(beside.settings, "migrate", "--contract")
    assert refused.returncode == 1
    assert "processes of an older version are still connected: identity" in refused.stderr
    assert "identity migrate --contract" in run(beside.settings, "doctor").stdout
    assert beside.older.stop() == 0

    done = run(beside.settings, "migrate", "--contract")
    assert done.returncode == 0, done.stderr
    assert "writers no longer take turns" in done.stdout + done.stderr
    assert "identity migrate --contract" not in run(beside.settings, "doctor").stdout
    db = beside.newer.db
    with beside.newer.lines() as (line,), db.transaction() as session:
        changes.record(session, "client.changed", CLIENT)
        db.finish(session)
        revoke_and_ask(line, line)  # beside a writer that is not done
        refuses(beside.settings, code_before, 1)
        revoke_and_ask(line, line)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_the_older_does_not_start_on_a_database_that_was_made_by_the_newer(
    empty_database_url: str, code_before: Path, tmp_path: Path
) -> None:
    migrate(empty_database_url)
    settings = settings_of(empty_database_url, tmp_path)
    del settings["MAIL_FOLDER"]  # the older knows of no mails
    refuses(settings, code_before, len(REFUSED))
