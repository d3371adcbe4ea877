"""What may be used once, by whichever process sees it first: one conditional write a use.

For what carries its own end (an assertion's or a proof's `jti`). The table holds digests alone,
for as long as their like could still be taken: anybody who may write here is known, or limited.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    delete_some,
    insert_for,
    select_of,
    value_of,
)
from identity.store.moments import DatabaseClock
from identity.store.statements import DialectName

MARGIN = timedelta(seconds=60)
"""By which clocks of processes and databases may differ: a use is remembered so much longer."""


class UsedOnce(Stored, table=True):
    __tablename__ = "used_once"

    digest: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


def _use(dialect: DialectName) -> Any:
    key: Any = UsedOnce.digest
    ends: Any = col(UsedOnce.expires_at)
    new = insert_for(dialect, UsedOnce).values(
        {key: value_of(key, "digest"), ends: value_of(ends, "until")}
    )
    return new.on_conflict_do_update(
        index_elements=[key], set_={ends: new.excluded[ends.key]}, where=ends < DatabaseClock()
    )


_USE = StatementBy(_use)
_USED = Statement(
    lambda: select_of(UsedOnce.digest).where(
        col(UsedOnce.digest) == bindparam("digest"),
        col(UsedOnce.expires_at) >= DatabaseClock(),
    )
)


async def first_use(db: Database, kind: str, *parts: str, until: datetime) -> bool:
    """Whether nobody has used this before `until` that was then said; durable on return.

    `kind` and `parts` together name what is used, whatever characters they hold. Raises
    `Unavailable`: then it may be used up or not."""
    values = {"digest": _digest(kind, *parts), "until": until + MARGIN, "now": utcnow()}
    return await db.apply(sqlite=[_USE], postgresql=_USE, values=values)


async def used(db: Database, kind: str, *parts: str) -> bool:
    """Whether somebody has used this: for who refuses early, and lets `first_use` decide."""
    values = {"digest": _digest(kind, *parts), "now": utcnow()}
    return bool(await db.query(_USED, values))


def prune(session: Session) -> int:
    return delete_some(session, UsedOnce, col(UsedOnce.expires_at) < utcnow())


def _digest(*parts: str) -> str:
    """No two lists of parts have the same."""
    hashed = sha256()
    for part in parts:
        octets = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(octets) + octets)
    return hashed.hexdigest()
