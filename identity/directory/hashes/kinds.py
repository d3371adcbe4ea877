"""Which kinds of hashes are stored: a row for each scheme and its settings.

What a refusal must cost follows from it (`passwords.hashing`). Whoever stores a hash calls `note`
in the same transaction, and the change feed tells every process. Once a day `recount` looks at
all hashes: kinds that nobody has any more go, and what a version that did not know of this table
has stored comes in.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.directory.hashes.recognising import specimen
from identity.directory.users.table import User
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    changes,
    execute,
    insert_for,
    select_of,
)
from identity.store.statements import DialectName

RECOUNTED = timedelta(days=1)
FRESH = timedelta(hours=1)
"""How exactly it is known when a kind was last noted."""
PAGE, PAUSE = 200, 0.005
"""Hashes looked at at once, and the seconds that others have in between: SQLite reads in the event
loop."""
COUNTED = ""
"""The row that says when all were counted."""


class PasswordKind(Stored, table=True):
    """`specimen`: a hash of this kind, salt and digest zeroed (`recognising.specimen`)."""

    __tablename__ = "password_kind"

    specimen: str = Field(primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime)


def _seen(specimen: Any) -> StatementBy:
    """Notes it, unless that was done since `due`."""

    def build(dialect: DialectName) -> Any:
        seen: Any = col(PasswordKind.seen_at)
        new = insert_for(dialect, PasswordKind).values(
            {PasswordKind.specimen: specimen, seen: bindparam("now")}
        )
        return new.on_conflict_do_update(
            index_elements=[PasswordKind.specimen],
            set_={seen: new.excluded[seen.key]},
            where=seen < bindparam("due"),
        )

    return StatementBy(build)


_NOTE = _seen(bindparam("specimen"))
_TURN = _seen(COUNTED)
_STORED = Statement(
    lambda: (
        select_of(PasswordKind.specimen)
        .where(col(PasswordKind.specimen) != COUNTED)
        .order_by(col(PasswordKind.specimen))
    )
)
_DROP = Statement(
    lambda: delete(PasswordKind).where(
        col(PasswordKind.specimen) == bindparam("specimen"),
        col(PasswordKind.specimen) != COUNTED,
        col(PasswordKind.seen_at) < bindparam("unseen"),
    )
)
_HASHES = Statement(
    lambda: (
        select_of(User.id, User.password_hash)
        .where(col(User.id) > bindparam("after"), col(User.password_hash).is_not(None))
        .order_by(col(User.id))
        .limit(PAGE)
    )
)


def note(work: Work, *encoded: str | None) -> None:
    """Hashes like these are stored from here on."""
    now = utcnow()
    for kind in {specimen(one) for one in encoded if one}:
        values = {"specimen": kind, "now": now, "due": now - FRESH}
        if kind is not None and execute(work, _NOTE, values).rowcount:
            changes.record(work, "password_kind.noted", "*")


async def stored(db: Database) -> tuple[str, ...]:
    """Specimens of all kinds that are stored."""
    return tuple(kind for (kind,) in await db.query(_STORED, {}))


async def recount(db: Database, today: str) -> bool:
    """Look at all hashes, unless somebody did within a day; whether this was done. `today`: the
    specimen of what is made now, of which most are."""
    began = utcnow()
    if not await db.write(lambda session: _our_turn(session, began)):
        return False
    found, after = {today}, ""
    settings = today[: today.rindex("$") - 22]  # what stands before the salt
    while page := await db.query(_HASHES, {"after": after}):
        others = (encoded for _, encoded in page if not encoded.startswith(settings))
        found |= {kind for encoded in others if (kind := specimen(encoded)) is not None}
        after = page[-1][0]
        await asyncio.sleep(PAUSE)
    await db.write(lambda session: _settle(session, found, began))
    return True


def _our_turn(session: Session, now: datetime) -> bool:
    """For an hour: who is stopped on the way does not leave it undone for a day."""
    values = {"now": now - RECOUNTED + FRESH, "due": now - RECOUNTED}
    return execute(session, _TURN, values).rowcount == 1


def _settle(session: Session, found: set[str], began: datetime) -> None:
    """Drop what was not found, unless it has been noted meanwhile."""
    values = {"now": began, "due": began + RECOUNTED}
    execute(session, _TURN, values)
    note(session, *found)
    rows = execute(session, _STORED, {}).fetchall()
    for gone in {kind for (kind,) in rows} - found:
        values = {"specimen": gone, "unseen": began - 2 * FRESH}
        if execute(session, _DROP, values).rowcount:
            changes.record(session, "password_kind.gone", "*")
