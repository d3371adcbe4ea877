"""Changes that took long to be committed, or of which nobody knows whether they were.

A change says when it was recorded, which is before the commit. Siblings that verify tokens
themselves ask for those that were issued within a minute of that; who was longer at it records the
change once more. So does whoever got no answer to a commit, once the database knows what became of
it.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Executable, String, bindparam, case, cast, func, select

from identity.clock import utcnow
from identity.store.driver import Work, dialect, execute
from identity.store.statements import Statement
from identity.store.table import Xid8

SLOW = timedelta(seconds=30)
"""Half of what verifiers allow, see `identity.verifier.revocations.denylist.LATE`: the other half
is for clocks."""
AGAIN = "again"
"""In a unit's `info`: it records what waits here."""


def _became() -> Executable:
    """A transaction that this server has never had was lost in a failover; of one that was long
    ago it keeps no state."""
    xid: Any = cast(bindparam("xid", type_=String), Xid8)
    state = func.coalesce(func.pg_xact_status(xid), "committed")
    return select(case((xid < func.pg_current_xact_id(), state), else_="aborted"))


_BECAME = Statement(_became, "postgresql")


class Written(NamedTuple):
    """What a transaction recorded, and when. `xid`: PostgreSQL's number of it."""

    changes: tuple[tuple[str, str], ...]
    at: datetime
    xid: str | None


class Late:
    """Of a process's writers; `waiting` is to be recorded again."""

    def __init__(self) -> None:
        self.waiting: list[Written] = []

    def note(self, work: Work, written: Written) -> None:
        work.info["written"] = written

    def committed(self, info: dict[str, object]) -> None:
        """`info`: of the unit of work that has been committed just now."""
        written = info.pop("written", None)
        if isinstance(written, Written) and utcnow() - written.at > SLOW:
            self.waiting.append(written)

    def unknown(self, info: dict[str, object]) -> None:
        """The commit got no answer. If it was to record again what waits, that still does."""
        written = info.pop("written", None)
        if isinstance(written, Written) and not info.get(AGAIN):
            self.waiting.append(written)


def over(work: Work, written: Written) -> str:
    """`committed`, `aborted` or `in progress`."""
    if written.xid is None or dialect(work) != "postgresql":
        return "committed"
    ((state,),) = execute(work, _BECAME, {"xid": written.xid}).fetchall()
    return str(state)
