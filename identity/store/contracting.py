"""Living beside a version that reads the change feed by id, and knowing when the last has gone.

While there may be one, writers take turns (`store.turns`). `identity migrate --contract` ends that.
It gives the table that names the schema's revision another name: by that this version knows that
nobody has to wait any more, and those of before, which look for the old one, start no more.
"""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, inspect, text

from identity.settings import Settings, SettingsError
from identity.store.database import Database
from identity.store.locks import Lock, take
from identity.store.turns import CONTRACTED, EXPANDED

OLDER = ("identity", "identity change feed")
"""What connections of the versions call themselves that read by id."""
WATCHED = 3.0
"""Seconds without any: a process of theirs asks every second, whatever has cut it off."""

_FOUND = """
SELECT pid, application_name, coalesce(host(client_addr), 'this machine') FROM pg_stat_activity
WHERE datname = current_database() AND application_name = ANY (:older) ORDER BY pid"""


def version_table(connection: Connection) -> str:
    """Where the schema's revision stands. A new database on PostgreSQL has never had older
    readers; SQLite has one writer, whom nobody has to order."""
    postgresql = connection.dialect.name == "postgresql"
    return CONTRACTED if postgresql and not expanded(connection) else EXPANDED


def expanded(connection: Connection) -> bool:
    """Whether versions that read by id can start."""
    return inspect(connection).has_table(EXPANDED)


def contract(settings: Settings) -> bool:
    """Let writers commit as they come; False where they did before. `SettingsError` while a
    process of an older version is connected, or where a restore has left both tables."""
    db = Database(settings)
    try:
        if db.dialect == "sqlite":
            return False
        with db.transaction() as session:
            connection = session.connection()
            if not expanded(connection):
                return False
            if inspect(connection).has_table(CONTRACTED):
                raise SettingsError(
                    f"there is a table {CONTRACTED} beside {EXPANDED}, which is in force: if the "
                    "backup that was restored last has not brought it, drop it"
                )
        until = time.monotonic() + WATCHED
        while (left := until - time.monotonic()) > 0:
            with db.transaction() as session:
                _refuse(session.execute(text(_FOUND), {"older": [*OLDER]}).all())
            time.sleep(min(left, 0.1))
        with db.transaction() as session:
            take(session, Lock.CHANGES)
            if not expanded(session.connection()):
                return False  # somebody else has done it meanwhile
            # Whoever has read the table by now is connected; who has not waits, and finds it gone.
            session.execute(text(f"LOCK TABLE {EXPANDED} IN ACCESS EXCLUSIVE MODE"))
            _refuse(session.execute(text(_FOUND), {"older": [*OLDER]}).all())
            session.execute(text(f"ALTER TABLE {EXPANDED} RENAME TO {CONTRACTED}"))
        return True
    finally:
        db.close()


def _refuse(found: Sequence[Any]) -> None:
    if found:
        who = ", ".join(f"{name} from {address} (pid {pid})" for pid, name, address in found[:5])
        raise SettingsError(f"processes of an older version are still connected: {who}")
