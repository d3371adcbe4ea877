"""Has every statement explained by an empty database: `python -m tests.store.explaining URL […]`.

`renamed`: no column of any table has the name that its field has, and one statement more is spelt
by hand. A process of its own, for tables are what they are from their import on.
"""

import json
import pkgutil
import sqlite3
import sys
from importlib import import_module
from typing import Any

import psycopg
from sqlalchemy import ARRAY, JSON, Column, DateTime, Integer, create_engine, event, text
from sqlalchemy.types import TypeDecorator, TypeEngine

from identity.clock import utcnow
from identity.settings import Settings
from identity.store import Stored, migrating
from identity.store.statements import STATEMENTS, Statement

XID = "ALTER TABLE change ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()"


def rename(column: Column[Any], table: Any) -> None:
    if getattr(table, "metadata", None) is Stored.metadata:
        column.key, column.name = column.key, f"{column.name}_renamed"


def load() -> Any:
    """All modules, and with them all tables and statements; the tables."""
    import identity

    for module in pkgutil.walk_packages(identity.__path__, "identity."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    from identity.service.tables import metadata

    return metadata


def sample(type_: TypeEngine[Any]) -> Any:
    kind = type_.impl if isinstance(type_, TypeDecorator) else type_
    if isinstance(kind, DateTime):
        return utcnow()
    if isinstance(kind, ARRAY | JSON):
        return []
    return 1 if isinstance(kind, Integer) else "1"


def explain(connection: Any, statement: Statement, dialect: str) -> list[str]:
    """The plan."""
    spelt = statement.sqlite if dialect == "sqlite" else statement.postgresql
    values = spelt.stored({name: sample(type_) for name, type_ in spelt.types.items()})
    how = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in connection.execute(f"{how} {spelt.text}", values).fetchall()]


def main(url: str, *options: str) -> None:
    if "renamed" in options:
        event.listen(Column, "before_parent_attach", rename)
    metadata = load()
    made_in = sorted({statement.made_in for statement in STATEMENTS})
    if "renamed" in options:
        Statement(lambda: text("SELECT jti FROM revoked_token WHERE jti = :jti"))
    dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
    if dialect == "sqlite":
        engine = create_engine(url)
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url, autocommit=True)
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    if "renamed" in options:
        metadata.create_all(engine)
        if dialect == "postgresql":
            connection.execute(XID)
    else:  # with the indexes that no model can say
        migrating.upgrade(Settings.of(database_url=url))
    engine.dispose()
    found: dict[str, Any] = {"modules": made_in, "plans": {}, "errors": {}}
    for statement in STATEMENTS:
        if dialect not in statement.dialects:
            continue
        name = f"one of {statement.made_in}"
        try:
            spelt = statement.sqlite if dialect == "sqlite" else statement.postgresql
            name = spelt.text
            found["plans"][name] = explain(connection, statement, dialect)
        except Exception as error:
            found["errors"][name] = f"{type(error).__name__}: {error}"
    connection.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
