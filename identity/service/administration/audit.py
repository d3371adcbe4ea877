"""The audit trail, for administrators: whether its chain is whole."""

from threading import Lock

from sqlmodel import Session

from identity.errors import Overloaded
from identity.records import audit
from identity.records.audit import Place, Verdict
from identity.service.opening import audit_keys
from identity.service.wiring import Services
from identity.store import dialect
from identity.store.paging import listed

STRETCH = 10_000
"""Events that are looked at for one request: some tenths of a second of this process's time."""
_TURN = Lock()


async def verify(services: Services, after: Place | None, wanted: Place | None) -> Verdict:
    """As `identity audit verify`, up to `STRETCH` events behind `after`. One at a time in each
    process: raises `Overloaded`."""
    if not _TURN.acquire(blocking=False):
        raise Overloaded(5, "the audit is being checked already")
    try:
        keys = audit_keys(services.master)

        def look(session: Session) -> Verdict:
            if dialect(session) == "postgresql":  # what is archived meanwhile is not missing
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return audit.verify(session, keys, after=after, most=STRETCH, wanted=wanted)

        return await listed(services.db, look)
    finally:
        _TURN.release()
