"""The database: one engine for SQLite or PostgreSQL, and the boundary where work is committed.

A unit of work is a function of a `Session`. It may flush, never commit: `Database.write`
commits, and what it commits is durable when the awaited call returns. An OAuth refusal raised
inside keeps what the unit wrote (a replay's revocation must stick); any other exception rolls
back. Units may be run again after a deadlock or a lost connection, so they touch nothing else.

SQLite answers reads in the event loop (microseconds, measured: quicker than any thread) and
writes on one thread that commits all waiting units at once, each in a savepoint of its own.
PostgreSQL runs both on a small pool of threads.

`query`, `apply` and `execute` take a `Statement`, which SQLAlchemy puts together once a process,
and a unit that needs nothing but `execute` may be given to `write_plain`; `write_at_once` does on
PostgreSQL, by one statement, what such a unit does in the plain case. They are for the few on which
the hot addresses and a login hang (docs/performance.md); nothing else should need them.
"""

from identity.store.database import Database
from identity.store.driver import Work, dialect, document, execute, moment
from identity.store.rows import SOME, delete_some, insert_on_conflict, insert_unique
from identity.store.statements import (
    Statement,
    StatementBy,
    insert_for,
    insert_of,
    select_of,
    value_of,
)
from identity.store.types import BIG, Stored, UtcDateTime

__all__ = [
    "BIG",
    "SOME",
    "Database",
    "Statement",
    "StatementBy",
    "Stored",
    "UtcDateTime",
    "Work",
    "delete_some",
    "dialect",
    "document",
    "execute",
    "insert_for",
    "insert_of",
    "insert_on_conflict",
    "insert_unique",
    "moment",
    "select_of",
    "value_of",
]
