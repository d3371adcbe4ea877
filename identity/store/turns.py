"""Writers on PostgreSQL take turns while a version may run that reads the change feed by id.

Such a reader misses a row whose id is lower than one that it has seen. So the lock is the last
thing before ids are drawn, until `store.contracting` has found that the last of them has gone.
"""

from typing import Any

from sqlalchemy import Executable, String, case, cast, func, select

from identity.store.driver import Work, dialect, execute
from identity.store.histories import Histories
from identity.store.locks import Lock, taken
from identity.store.statements import Statement

EXPANDED, CONTRACTED = "alembic_version", "schema_version"
"""How the table is called that names the schema's revision, with and without such readers. Where
there are both, an older backup was put over a newer database: the first one counts."""


def _turn() -> Executable:
    name = func.format(f"%I.{EXPANDED}", func.current_schema())
    nobody: Any = func.to_regclass(name).is_(None)
    return select(case((nobody, True), else_=cast(taken(Lock.CHANGES), String).is_(None)))


_TURN = Statement(_turn, "postgresql")


class Turns:
    """Of a process's writers, which ask until they know that nobody needs them to wait."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._free: tuple[int, int] | None = None
        self._resets = 0

    def take(self, work: Work) -> None:
        """The last thing before ids are drawn."""
        if dialect(work) != "postgresql":
            return
        here = (self._histories.generation, self._resets)
        if self._free == here:
            return
        ((free,),) = execute(work, _TURN, {}).fetchall()
        if free:
            self._free = here

    def ask_again(self) -> None:
        """This may be a database of before: a backup, or what a failover has left."""
        self._resets += 1
