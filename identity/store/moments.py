"""The time by which processes on several machines agree: the database's own."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlmodel import Session

from identity.clock import utcnow
from identity.store.driver import dialect
from identity.store.types import UtcDateTime


class DatabaseClock(ColumnElement[datetime]):
    """Now, in a statement. SQLite's clock is this machine's, as `identity.clock` has it: there it
    is the parameter `now`."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(DatabaseClock, "sqlite")
def _on_sqlite(element: DatabaseClock, compiler: Any, **options: Any) -> str:
    text: str = compiler.process(bindparam("now", type_=UtcDateTime()), **options)
    return text


@compiles(DatabaseClock, "postgresql")
def _on_postgresql(element: DatabaseClock, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


def database_time(session: Session) -> datetime:
    """Now, by the database's clock."""
    if dialect(session) == "sqlite":
        return utcnow()
    found: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)
