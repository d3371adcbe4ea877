"""Pushed authorization requests (RFC 9126): kept for the person who is about to come with one.

Whoever comes has to within a minute. From then on the sealed mark in the address says that they
did, so the row lives as long as a mark: people take their time, and load the page again. It is
consumed in the unit of work that issues its code, or by the refusal of the person; of two that
answer it at once, the conditional write lets one through.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import JSON, Index, bindparam, delete, func, insert, literal, select, update
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.errors import Conflict
from identity.opaque import digest, mint
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    delete_some,
    document,
    execute,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName

URN = "urn:ietf:params:oauth:request_uri:"
PREFIX = "pr"
LIFE = timedelta(seconds=60)
"""Within which a person has to come with it."""
KEPT = timedelta(hours=1)
"""How long it lives on: as a mark of the last moment (`authentication.marks.LIFE`)."""
MOST = 1_000
"""Of one client, pushed within `LIFE` and not consumed."""
ANSWERED = "This request has been answered already: go back to the application and begin again."
EACH = 30
"""Of those, from one network, where the client is public and anybody may name it. Of clients that
are described at an address of their own, whatever that is: there is no end to them."""


class PushedRequest(Stored, table=True):
    __tablename__ = "pushed_request"
    __table_args__ = (Index("ix_pushed_request_client", "client_id", "expires_at"),)

    digest: str = Field(primary_key=True)
    """Of what stands behind `URN`."""
    client_id: str
    """It need not be a client of ours yet (`oauth.authorize.documents`)."""
    network: str | None = None
    """From where, of a public client; None of others."""
    parameters: list[list[str]] = Field(default_factory=list, sa_type=JSON)
    """Names and values, in order; none once it has been consumed."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    """When nobody may come with it for the first time any more."""
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Pushed(NamedTuple):
    """What is known of one."""

    digest: str
    client_id: str
    parameters: tuple[tuple[str, str], ...]
    fresh: bool
    """Whether a person may still come with it for the first time."""
    used: bool


_ROW: tuple[Any, ...] = (
    PushedRequest.digest,
    PushedRequest.client_id,
    PushedRequest.network,
    PushedRequest.parameters,
)
_PRESENTED = col(PushedRequest.digest) == bindparam("digest")
_FRESH: Any = col(PushedRequest.expires_at) > DatabaseClock()


def _row(dialect: DialectName, *conditions: Any) -> Any:
    """One, if these hold."""
    ends: Any = PushedRequest.expires_at
    end: Any = value_of(ends, ends.key)
    if dialect == "postgresql":
        end = DatabaseClock() + literal(LIFE)
    row = select_of(*(value_of(column, column.key) for column in _ROW), end)
    return insert(PushedRequest).from_select([*_ROW, ends], row.where(*conditions))


def _waiting() -> Any:
    waits = _FRESH, col(PushedRequest.used_at).is_(None)
    return select(func.count()).select_from(PushedRequest).where(*waits)


def _pushed(dialect: DialectName) -> Any:
    """If its client lives and has not got too many that wait."""
    waiting = _waiting().where(col(PushedRequest.client_id) == bindparam("client_id"))
    from_there = waiting.where(col(PushedRequest.network) == bindparam("network"))
    return _row(
        dialect,
        col(Client.id) == bindparam("client_id"),
        col(Client.status) == "active",
        waiting.scalar_subquery() < MOST,
        from_there.scalar_subquery() < EACH,
    )


def _described(dialect: DialectName) -> Any:
    """Of a client that need not be one of ours: not many from one network, nor in all."""
    waiting = _waiting().where(col(PushedRequest.network).is_not(None))
    from_there = _waiting().where(col(PushedRequest.network) == bindparam("network"))
    return _row(
        dialect,
        waiting.scalar_subquery() < MOST,
        from_there.scalar_subquery() < EACH,
    )


_PUSH = StatementBy(_pushed)
_PUSH_DESCRIBED = StatementBy(_described)


async def push(
    db: Database,
    client_id: str,
    parameters: Iterable[tuple[str, str]],
    network: str | None,
    *,
    described: bool = False,
) -> str | None:
    """Its `request_uri`, durable; None where too many of the client's wait already, or the client
    has just gone. `network`: from where it comes, of a public client. `described`: the client is,
    at its own address."""
    name, now = mint(PREFIX), utcnow()
    values = {
        "digest": digest(name),
        "client_id": client_id,
        "network": network,
        "parameters": [list(pair) for pair in parameters],
        "expires_at": now + LIFE,  # SQLite's; replicas' clocks differ
        "now": now,
    }
    statement = _PUSH_DESCRIBED if described else _PUSH
    kept = await db.apply(sqlite=[statement], postgresql=statement, values=values)
    return URN + name if kept else None


_LOOK = Statement(
    lambda: select_of(
        PushedRequest.digest,
        PushedRequest.client_id,
        PushedRequest.parameters,
        _FRESH.label("fresh"),
        col(PushedRequest.used_at).is_not(None).label("used"),
    ).where(_PRESENTED)
)


async def look(db: Database, request_uri: str) -> Pushed | None:
    """In whatever state it is; None where it is not known."""
    key = digest(request_uri.removeprefix(URN))
    rows = await db.query(_LOOK, {"digest": key, "now": utcnow()})
    if not rows:
        return None
    known, client_id, parameters, fresh, used = rows[0]
    pairs = tuple((name, value) for name, value in document(parameters))
    return Pushed(known, client_id, pairs, bool(fresh), bool(used))


_CONSUME = Statement(
    lambda: (
        update(PushedRequest)
        .where(_PRESENTED, col(PushedRequest.used_at).is_(None))
        .values(
            {
                PushedRequest.used_at: DatabaseClock(),
                PushedRequest.parameters: bindparam("nothing"),
            }
        )
    )
)


def consume(work: Work, key: str) -> None:
    """It waited, and is now answered: once. `Conflict` ever after. `key`: its digest."""
    values = {"digest": key, "nothing": [], "now": utcnow()}
    if execute(work, _CONSUME, values).rowcount != 1:
        raise Conflict(ANSWERED)


def forget(session: Session, client_id: str) -> None:
    """What a client has pushed that is no more, or not for now."""
    session.execute(delete(PushedRequest).where(col(PushedRequest.client_id) == client_id))


def prune(session: Session) -> int:
    over = col(PushedRequest.expires_at) < utcnow() - KEPT
    return delete_some(session, PushedRequest, over)
