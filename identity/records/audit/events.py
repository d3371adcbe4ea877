"""Writing events: in the transaction of what they tell of, or in batches."""

import asyncio
from functools import partial
from typing import Any, Literal, NamedTuple

from identity.clock import now, utcnow
from identity.errors import Overloaded
from identity.records.audit.chain import WRITTEN, Sealed, append
from identity.records.audit.origins import network_of, origin
from identity.records.audit.refusals import Refusals, Whom
from identity.records.audit.table import AuditEvent
from identity.store import Database, Statement, Work, execute, insert_of

BATCH = 500
"""Events written at once."""
Outcome = Literal["success", "refused"]
_INSERT = Statement(lambda: insert_of(AuditEvent, WRITTEN))


class Happened(NamedTuple):
    """What a unit of work has recorded, as far as hooks of its commit want to know."""

    event: str
    subject: str | None
    kind: str | None


def event(
    name: str,
    *,
    outcome: Outcome = "success",
    subject: str | None = None,
    client_id: str | None = None,
    **detail: Any,
) -> dict[str, Any]:
    """An event by and from the current `origin`; `detail` is JSON, never a secret."""
    who = origin.get()
    return {
        "at": utcnow(),
        "event": name,
        "outcome": outcome,
        "actor_type": who.actor_type,
        "actor": who.actor,
        "subject": _plain(subject),
        "client_id": _plain(client_id),
        "address": who.address,
        "request_id": who.request_id,
        "detail": {key: _plain(value) for key, value in detail.items() if value is not None},
    }


def _plain(value: Any) -> Any:
    """What both databases can store: PostgreSQL holds neither NUL nor lone surrogates. One event
    that cannot be written would hold up all that are queued with it."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def record(
    work: Work,
    name: str,
    *,
    outcome: Outcome = "success",
    subject: str | None = None,
    client_id: str | None = None,
    **detail: Any,
) -> None:
    """Write an event in the caller's transaction; it stands or falls with what it tells of."""
    members = event(name, outcome=outcome, subject=subject, client_id=client_id, **detail)
    execute(work, _INSERT, members)
    if outcome == "success":
        happened(work).append(Happened(name, subject, detail.get("kind")))


def happened(work: Work) -> list[Happened]:
    """What this unit of work has recorded so far, refusals left out."""
    found: list[Happened] = work.info.setdefault("happened", [])
    return found


class AuditQueue:
    """Events of acts that change nothing, held until the next flush (every second, sooner when
    `pressing`, and at shutdown). Full means refusing work, not forgetting it. A killed process
    loses at most what it held."""

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._events: list[dict[str, Any]] = []
        self._refusals = Refusals()
        self._flushing = asyncio.Lock()
        self.pressing = asyncio.Event()
        """Set while enough is held for a batch."""

    @property
    def depth(self) -> int:
        return len(self._events)

    def put(
        self,
        name: str,
        *,
        outcome: Outcome = "success",
        subject: str | None = None,
        client_id: str | None = None,
        **detail: Any,
    ) -> None:
        self._hold(event(name, outcome=outcome, subject=subject, client_id=client_id, **detail))

    def refused(
        self,
        name: str,
        same: dict[str, str],
        *,
        subject: str | None = None,
        client_id: str | None = None,
        known_client: bool = True,
        **detail: Any,
    ) -> None:
        """A refusal of somebody who has proved nothing: `put`, unless it is `counted`. `client_id`:
        the one that was named, which may be nobody's."""
        client = client_id if known_client else None
        if not self.counted(name, same, subject=subject, client_id=client):
            self.put(
                name, outcome="refused", subject=subject, client_id=client_id, **same, **detail
            )

    def counted(
        self,
        name: str,
        same: dict[str, str],
        *,
        subject: str | None = None,
        client_id: str | None = None,
    ) -> bool:
        """Whether a refusal is so frequent that it is counted and not written (`audit.refusals`):
        by the detail `same`, by subject and client, both of whom exist, and by address."""
        self._hold(*self._refusals.ended(now()))
        happened = event(name, outcome="refused", subject=subject, client_id=client_id)
        whom = Whom(network_of(happened["address"]), subject, client_id)
        return not self._refusals.is_to_be_written(happened, whom, same)

    def close(self) -> None:
        """The minute ends now: what was counted is held for the last flush."""
        self._hold(*self._refusals.ended(now(), all_of_them=True))

    def _hold(self, *events: dict[str, Any]) -> None:
        if not events:
            return
        if len(self._events) >= self._size:
            raise Overloaded(audit="the audit queue is full")
        before = len(self._events)
        self._events += events
        if before < BATCH <= len(self._events):
            self.pressing.set()

    async def flush(self, db: Database, key: bytes) -> list[Sealed]:
        """Write what is held, in its place in the chain; the chain's new end after each batch. What
        cannot be written now is held on, and counts. `key`: as for `seal`. Not to be cancelled:
        whether a write under way succeeds would remain unknown."""
        ends = []
        async with self._flushing:
            self.pressing.clear()
            self._events += self._refusals.ended(now())
            left = len(self._events)
            while left:
                taken = self._events[: min(BATCH, left)]
                if sealed := await db.write_plain(partial(append, key=key, events=taken)):
                    ends.append(sealed)
                del self._events[: len(taken)]
                left -= len(taken)
        return ends
