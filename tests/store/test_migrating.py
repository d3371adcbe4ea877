"""One history for both databases: it agrees with the models, and nothing that happens to it on
the way leaves a database that it cannot finish."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, inspect, text
from sqlmodel import select

from identity.clock import utcnow
from identity.directory import subjects
from identity.directory.clients.table import Client
from identity.directory.subjects import Subject
from identity.records import audit
from identity.service.tables import TABLES, metadata
from identity.settings import Settings, SettingsError
from identity.store import Database, contracting, migrating
from tests.databases import ROOT, environment

HEAD = migrating.head()


@pytest.fixture
def settings(empty_database_url: str) -> Settings:
    return Settings.of(database_url=empty_database_url)


def tables(settings: Settings) -> set[str]:
    db = Database(settings)
    try:
        return set(inspect(db.engine).get_table_names())
    finally:
        db.close()


def version(settings: Settings) -> str | None:
    db = Database(settings)
    try:
        with db.transaction() as session:
            return migrating.current(session.connection())
    finally:
        db.close()


def check(settings: Settings) -> None:
    db = Database(settings)
    try:
        with db.transaction() as session:
            migrating.check(session)
    finally:
        db.close()


def defaults_differ(_context: Any, _found: Any, column: Any, found: str | None, *_: Any) -> Any:
    """As Alembic does it, except for a default that is another one each time it is computed."""
    if (column.table.name, column.name) == ("change", "nonce"):
        return found is None or "random()" not in found
    return None


def test_models_and_migrations_agree(settings: Settings) -> None:
    migrating.upgrade(settings)
    db = Database(settings)
    try:
        with db.engine.connect() as connection:
            connection.dialect.ischema_names["xid8"] = BigInteger  # type: ignore[attr-defined]
            opts = {
                "compare_type": True,
                "compare_server_default": defaults_differ,
                "include_name": migrating.compared,
                "version_table": contracting.version_table(connection),
            }
            context = MigrationContext.configure(connection, opts=opts)
            assert compare_metadata(context, metadata) == []
    finally:
        db.close()


def test_every_table_is_in_the_list_of_tables() -> None:
    listed = {table.__tablename__ for table in TABLES}
    assert listed == set(metadata.tables)


def test_the_names_of_constraints_follow_the_rule(settings: Settings) -> None:
    """So that a later migration can name what it drops, on both databases."""
    migrating.upgrade(settings)
    db = Database(settings)
    try:
        found = inspect(db.engine)
        for table in metadata.tables.values():
            expected = {str(index.name) for index in table.indexes}
            assert {index["name"] for index in found.get_indexes(table.name)} >= expected
            for key in found.get_foreign_keys(table.name):
                assert key["name"] == f"fk_{table.name}_{'_'.join(key['constrained_columns'])}"
    finally:
        db.close()


def test_migrating_again_does_nothing(settings: Settings) -> None:
    assert migrating.upgrade(settings) == (None, HEAD)
    before = tables(settings)
    assert migrating.upgrade(settings) == (HEAD, HEAD)
    assert tables(settings) == before


def test_the_service_refuses_a_schema_that_is_behind_and_says_what_to_do(
    settings: Settings,
) -> None:
    with pytest.raises(SettingsError) as raised:
        check(settings)
    assert str(raised.value) == (
        "the database's schema is behind this version "
        f"(it is at nothing, needed is {HEAD}): run `identity migrate`"
    )
    migrating.upgrade(settings)
    check(settings)


def test_ids_of_before_are_claimed_for_users_first_and_for_those_deleted(
    settings: Settings,
) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating.scripts()))
    db = Database(settings)
    with db.transaction() as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
        for id_ in ("ada", "both"):
            session.execute(
                text(
                    "INSERT INTO user_account (id, username, email_verified, status, "
                    "must_change_password, version, created_at, updated_at) VALUES "
                    "(:id, :id, false, 'active', false, 1, :now, :now)"
                ),
                {"id": id_, "now": utcnow()},
            )
        for id_ in ("both", "robot", "gone"):
            session.execute(
                text(
                    "INSERT INTO client (id, name, type, status, grants, scopes, audiences, "
                    "builtin, version, good_from, created_at, updated_at) VALUES "
                    "(:id, '', 'public', 'active', '[]', '[]', '[]', false, 1, :now, :now, :now)"
                ),
                {"id": id_, "now": utcnow()},
            )
        for _ in range(2):
            audit.record(session, "user.deleted", subject="gone")
    with db.transaction() as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0002")
        types = dict(session.exec(select(Subject.id, Subject.type)).all())
        assert types == {"ada": "user", "both": "user", "gone": "user", "robot": "client"}
        assert subjects.shared(session) == ["both", "gone"]
        assert session.exec(select(Client.default_scopes)).all() == [None] * 3
    db.close()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_schema_ahead_of_this_version_is_left_alone(settings: Settings) -> None:
    migrating.upgrade(settings)
    db = Database(settings)
    with db.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.close()
    check(settings)
    assert migrating.upgrade(settings) == ("9999", "9999")


@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_interrupted_migration_leaves_nothing_and_can_be_run_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made: list[str] = []
    create = op.create_table

    def interrupted(name: str, *columns: Any, **options: Any) -> Any:
        if len(made) == after:
            raise RuntimeError("interrupted")
        made.append(name)
        return create(name, *columns, **options)

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_table", interrupted)
        with pytest.raises(RuntimeError, match="interrupted"):
            migrating.upgrade(settings)
    assert len(made) == after
    assert tables(settings) <= {"alembic_version", "schema_version"}
    assert version(settings) is None
    assert migrating.upgrade(settings) == (None, HEAD)
    check(settings)


KILLED = """
import os, sys
from alembic import command, op
create, made = op.create_table, []
def killed(*args, **options):
    made.append(args[0])
    if len(made) == 5:
        os._exit(9)
    return create(*args, **options)
op.create_table = killed
from identity.store import migrating
from identity.settings import Settings
migrating.upgrade(Settings.load())
"""

MIGRATES = """
from identity.store import migrating
from identity.settings import Settings
print(migrating.upgrade(Settings.load()))
"""


def start(code: str, settings: Settings, folder: Path) -> "subprocess.Popen[str]":
    url = settings.database.database_url.get_secret_value()
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(DATABASE_URL=url),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_migration_whose_process_was_killed_can_be_run_again(
    settings: Settings, tmp_path: Path
) -> None:
    process = start(KILLED, settings, tmp_path)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 9, said
    assert tables(settings) <= {"alembic_version", "schema_version"}
    assert migrating.upgrade(settings) == (None, HEAD)
    check(settings)


def test_replicas_that_start_at_once_migrate_once(settings: Settings, tmp_path: Path) -> None:
    processes = [start(MIGRATES, settings, tmp_path) for _ in range(3)]
    outcomes = []
    for process in processes:
        said, complained = process.communicate(timeout=60)
        assert process.returncode == 0, complained
        outcomes.append(said.strip())
    done, found = str((None, HEAD)), str((HEAD, HEAD))
    assert sorted(outcomes, key=outcomes.count) == [done, found, found]
    check(settings)


def test_alembics_own_command_works_on_the_settings_in_force(
    settings: Settings, tmp_path: Path
) -> None:
    url = settings.database.database_url.get_secret_value()

    def alembic(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), *arguments],
            env=environment(DATABASE_URL=url),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    alembic("upgrade", "head")
    check(settings)
    assert HEAD in alembic("current")
    assert migrating.upgrade(settings) == (HEAD, HEAD)


def test_revisions_are_numbered_in_order_and_each_follows_the_one_before() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating.scripts()))
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    numbers = [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert [revision.revision for revision in revisions] == numbers
    assert [revision.down_revision for revision in revisions] == [None, *numbers[:-1]]
    assert numbers[-1] == HEAD
