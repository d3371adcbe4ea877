"""Bringing the database to the schema that this version needs.

The upgrade is one transaction on both databases, behind a lock: it happens whole or not at all,
and replicas that start together do it once. Alembic is imported only when there is work.
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table
from sqlmodel import Session

from identity.settings import Settings, SettingsError
from identity.store import Database
from identity.store.contracting import version_table
from identity.store.locks import Lock, take


def scripts() -> Path:
    """Where the migrations are: in an installed wheel inside the package, else beside it."""
    package = Path(__file__).parent.parent
    packed = package / "_migrations"
    return packed if packed.is_dir() else package.parent / "migrations"


def head() -> str:
    """The newest revision. Files are named `0001_what.py`, revisions `0001`."""
    return max(path.name[:4] for path in (scripts() / "versions").glob("[0-9]*.py"))


def compared(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Alembic's `include_name`: all but what no model knows, for the databases spell it
    differently: a column and an index of PostgreSQL's, and indexes for searching."""
    if kind == "column":
        return (parents["table_name"], name) != ("change", "xid")
    return name != "ix_change_xid_id" and not (name or "").startswith("ix_search_")


def check(session: Session) -> None:
    """Raise `SettingsError` where the schema is behind. One that is ahead is a newer version's,
    which by expand/contract still serves this one."""
    version = current(session.connection())
    if version is None or version < head():
        raise SettingsError(
            "the database's schema is behind this version "
            f"(it is at {version or 'nothing'}, needed is {head()}): run `identity migrate`"
        )


def upgrade(settings: Settings) -> tuple[str | None, str | None]:
    """Migrate to the head; (revision before, after). Safe to repeat and to run twice at once."""
    db = Database(settings)
    try:
        with db.transaction() as session:
            take(session, Lock.MIGRATION)
            connection = session.connection()
            before = current(connection)
            if before is None or before < head():
                _run(connection)
            return before, current(connection)
    finally:
        db.close()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None where there is none."""
    name = version_table(connection)
    if not inspect(connection).has_table(name):
        return None
    version: str | None = connection.execute(
        select(column("version_num")).select_from(table(name))
    ).scalar()
    return version


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
