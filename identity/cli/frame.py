"""The frame of every command that touches the database: settings, database, who is acting."""

import os
import pwd
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from identity.dataclass import dataclass

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.keys.master import MasterKey
    from identity.settings import Settings
    from identity.store import Database


@dataclass(frozen=True)
class Operation:
    """`settings`: those in force, under the address at which the service was last started."""

    settings: "Settings"
    db: "Database"
    served: "list[Settings]"
    """Under each address that it may have, the last one first."""

    def change(self) -> "AbstractContextManager[Session]":
        """A transaction that is committed at the end."""
        return self.db.transaction()

    def look(self) -> "AbstractContextManager[Session]":
        """One consistent view, in which nothing is written and nobody is kept waiting."""
        return self.db.snapshot()

    def master(self, session: "Session") -> "MasterKey":
        """The master key in force. Raises `SettingsError`."""
        from identity.keys import master

        return master.load(session, self.settings)


@contextmanager
def operating(settings: "Settings | None" = None) -> "Iterator[Operation]":
    """What a command needs; its acts are on record as those of the operating-system user."""
    from identity.opaque import new_id
    from identity.records import audit
    from identity.service import served
    from identity.service.opening import open_database
    from identity.settings import Settings

    settings = settings or Settings.load()
    expect_file(settings)
    before = audit.origin.set(
        audit.Origin(request_id=new_id(), actor_type="cli", actor=system_user())
    )
    db = open_database(settings)
    try:
        under = served.as_served(db, settings)
        yield Operation(under[0], db, under)
    finally:
        db.close()
        audit.origin.reset(before)


def expect_file(settings: "Settings") -> None:
    """Raise `SettingsError` for an SQLite file that is not there, rather than make an empty one."""
    from identity.settings import SettingsError

    path = sqlite_path(settings)
    if path is not None and not path.exists():
        raise SettingsError(
            f"IDENTITY_DATABASE_URL: there is no database {path}: "
            "run `identity migrate`, or start where the service runs"
        )


def sqlite_path(settings: "Settings") -> Path | None:
    """The database's file; None on PostgreSQL."""
    url = settings.database.database_url.get_secret_value()
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else None


def system_user() -> str:
    """Who runs the command, as the operating system knows them (the environment may lie)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
