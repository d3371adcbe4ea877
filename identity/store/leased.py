"""What waits in a table until somebody outside has been told: an outbox (decision 51).

A row is written in the transaction of the act that it tells of, so none is lost. Who is about to
tell takes it for `LEASE`; if they die meanwhile, another process takes it then. What fails is due
again after a pause that doubles, and is given up after a day. The database's clock decides, for
replicas' own differ.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, cast

from sqlalchemy import ColumnElement, CursorResult, Row, Table, inspect, update
from sqlmodel import Field, Session, col, select

from identity.clock import utcnow
from identity.store.moments import database_time
from identity.store.rows import delete_some
from identity.store.types import Stored, UtcDateTime

LEASE = timedelta(seconds=30)
"""Longer than anybody takes to be told."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=10)
GIVEN_UP_AFTER = timedelta(hours=24)
KEPT = timedelta(days=7)
"""How long administrators see what was given up."""


class Leased(Stored):
    """Columns of a table whose rows wait so; it has one primary key."""

    noted_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    """Nobody takes it before."""
    attempts: int = 0
    """Counted when it is taken: who settles it names the number that they took it with."""
    last_error: str | None = None
    given_up_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)


class Taken(Protocol):
    @property
    def noted_at(self) -> datetime: ...
    @property
    def attempts(self) -> int: ...


def take(
    session: Session,
    table: type[Leased],
    most: int,
    *where: ColumnElement[bool],
    of: Sequence[Any],
) -> Sequence[Row[Any]]:
    """The columns `of` of up to `most` rows that wait and are due; nobody else takes them for
    `LEASE`."""
    now = database_time(session)
    chosen = (
        select(_key(table))
        .where(col(table.given_up_at).is_(None), col(table.due_at) <= now, *where)
        .order_by(col(table.due_at))
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return session.execute(
        update(table)
        .where(_key(table).in_(chosen))
        .values(due_at=now + LEASE, attempts=col(table.attempts) + 1)
        .returning(*of)
        .execution_options(synchronize_session=False)
    ).all()


def same(table: type[Leased], key: str, taken: Taken) -> tuple[ColumnElement[bool], ...]:
    """Unless another process took it meanwhile, because we were thought to be dead."""
    return _key(table) == key, col(table.attempts) == taken.attempts


def settle_failed(
    session: Session, table: type[Leased], key: str, taken: Taken, pause: timedelta, words: str
) -> bool:
    """It is due again after `pause`; False where that has gone on for too long, and nobody tries
    again."""
    now = database_time(session)
    over = now + pause > taken.noted_at + GIVEN_UP_AFTER
    session.execute(
        update(table)
        .where(*same(table, key, taken))
        .values(due_at=now + pause, last_error=words[:200], given_up_at=now if over else None)
    )
    return not over


def try_again(
    session: Session, table: type[Leased], *where: ColumnElement[bool], **values: Any
) -> int:
    """All of these are due now, and what was given up waits again; how many. `values`: what is to
    be another then."""
    again = session.execute(
        update(table)
        .where(*where)
        .values(due_at=database_time(session), given_up_at=None, **values)
        .execution_options(synchronize_session=False)
    )
    return cast(CursorResult[Any], again).rowcount


def prune(session: Session, table: type[Leased]) -> int:
    """Forget what was given up, after a while."""
    return delete_some(session, table, col(table.given_up_at) < utcnow() - KEPT)


def pause_after(attempts: int) -> timedelta:
    """Twice as long each time, and never the same for all who failed together."""
    doublings = min(max(attempts - 1, 0), 20)
    usual = min(FIRST_PAUSE.total_seconds() * (1 << doublings), LONGEST_PAUSE.total_seconds())
    return timedelta(seconds=usual * random.uniform(0.75, 1.25))  # noqa: S311


def _key(table: type[Leased]) -> ColumnElement[str]:
    (key,) = cast(Table, inspect(table).local_table).primary_key
    return key
