"""The change feed's question to SQLite: what has an id above the newest one known.

One writer at a time draws ids and makes them visible, so they are commit order.
"""

import sqlite3
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import col

from identity.errors import Unavailable
from identity.store.database import Database
from identity.store.positions import NOTHING, PAGE, Mark, Position, Row, Tell
from identity.store.statements import Statement, select_of
from identity.store.table import Change
from identity.store.wal import WalIndex

_MARK = (Change.id, Change.id, Change.nonce)
_SINCE = Statement(
    lambda: (
        select_of(*_MARK, Change.kind, Change.ref, Change.at)
        .where(col(Change.id) >= bindparam("id"))
        .order_by(col(Change.id))
        .limit(PAGE)
    ),
    "sqlite",
)
_NEWEST = Statement(lambda: select_of(*_MARK).order_by(col(Change.id).desc()).limit(1), "sqlite")


class SqliteSource:
    """A connection of its own, read in the event loop: sooner done than handed over. While nobody
    has committed anything at all, it is not asked either."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._path = str(db.engine.url.database)
        self._connection: sqlite3.Connection | None = None
        self._index: WalIndex | None = None
        self._quiet = b""
        """The header at which the newest row was `_newest`."""
        self._newest: Mark | None = None

    steady = True

    def unchanged(self, position: Position) -> bool:
        """Whether its newest row is still the newest: the usual answer, at least cost."""
        if self._connection is None:
            return False
        assert self._db.files is not None
        self._db.files.check()
        header = self._index.header() if self._index is not None else b""
        if header and header == self._quiet and position.newest is self._newest:
            return True
        newest = position.newest
        rows = self._execute(_SINCE, id=newest.id)
        unchanged = len(rows) == 1 and rows[0][:3] == newest
        if unchanged:
            self._quiet, self._newest = header, newest
        return unchanged

    async def begin(self) -> Position:
        rows = self._execute(_NEWEST)
        return Position(0, Mark(*rows[0]) if rows else NOTHING)

    async def follow(self, position: Position, tell: Tell) -> Position | None:
        while True:
            rows = [Row(*row) for row in self._execute(_SINCE, id=position.newest.id)]
            if position.newest == NOTHING:
                return None if rows else position  # the first row ever
            if not rows or rows[0].mark != position.newest:
                return None
            if len(rows) == 1:
                return position
            tell(rows[1:])
            position = Position(0, rows[-1].mark)

    async def close(self) -> None:
        self._index = None  # the database closes it
        if self._connection is not None:
            connection = self._connection
            self._forget()
            connection.close()

    def _forget(self) -> None:
        assert self._db.files is not None
        self._db.files.log_closed()
        self._connection = None

    def _execute(self, statement: Statement, **values: int) -> list[Any]:
        query = statement.sqlite.text
        try:
            if self._connection is None:
                connection = sqlite3.connect(
                    f"file:{self._path}?mode=rw", uri=True, isolation_level=None,
                    check_same_thread=False,
                )  # fmt: skip
                rows = connection.execute(query, values).fetchall()
                self._connection, self._quiet = connection, b""
                self._index = self._db.wal_index()
                assert self._db.files is not None
                self._db.files.log_opened(connection)
                self._db.files.check()
                return rows
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._forget()
            raise Unavailable(audit=f"change feed: {error}") from error
