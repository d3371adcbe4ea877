"""Rows put in and taken out in ways that the ORM has no word for."""

from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Table, delete, inspect, select
from sqlalchemy import exc as sa_exc
from sqlmodel import Session

from identity.errors import IdentityError
from identity.store.driver import dialect
from identity.store.statements import insert_for
from identity.store.types import Stored

SOME = 200
"""Rows that `delete_some` deletes at once; a session takes thousands of refresh tokens along."""


def insert_unique(session: Session, row: Stored, conflict: IdentityError) -> None:
    """Flush `row`, or raise `conflict` where the database already holds its like."""
    try:
        with session.begin_nested():
            session.add(row)
    except sa_exc.IntegrityError:
        raise conflict from None


def delete_some(session: Session, table: type[Stored], *where: ColumnElement[bool]) -> int:
    """Delete up to `SOME` of these rows; how many that were. A million at once would hold up every
    other write. `table` has one primary key."""
    rows = cast(Table, inspect(table).local_table)
    (key,) = rows.primary_key
    some = select(key).where(*where).limit(SOME)
    return cast(CursorResult[Any], session.execute(delete(rows).where(key.in_(some)))).rowcount


def insert_on_conflict(session: Session, table: type[Stored] | Table) -> Any:
    """An INSERT that has the methods `on_conflict_…` of its dialect."""
    return insert_for(dialect(session), table)
