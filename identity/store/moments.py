"""The time by which processes on several machines agree: the database's own."""

from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import Session

from identity.clock import utcnow
from identity.store.driver import dialect

CLOCK = "clock_timestamp()"
"""PostgreSQL's, in a statement. SQLite's is this machine's, as `identity.clock` has it."""


def database_time(session: Session) -> datetime:
    """Now, by the database's clock."""
    if dialect(session) == "sqlite":
        return utcnow()
    found: datetime = session.execute(text(f"SELECT {CLOCK}")).scalar_one()
    return found.astimezone(UTC)
