"""What the change feed asks PostgreSQL, where each row says which transaction wrote it."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Executable,
    String,
    any_,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal,
    literal_column,
    select,
    table,
    true,
    tuple_,
    update,
)
from sqlmodel import col

from identity.store.positions import PAGE
from identity.store.statements import Statement, select_of, value_of
from identity.store.table import XID, Change, Xid8

_SNAPSHOT: Any = func.pg_current_snapshot()
_READ_ONLY: Any = func.current_setting("transaction_read_only")
_TABLE: Any = literal_column(f"{Change.__tablename__}.tableoid")
_ROW = (cast(XID, String), Change.id, Change.nonce, Change.kind, Change.ref, Change.at)
_PLACE: Any = tuple_(XID, Change.id)


def _of_postgresql(build: Callable[[], Executable]) -> Statement:
    return Statement(build, "postgresql")


def _xid(name: str) -> Any:
    return cast(bindparam(name, type_=String), Xid8)


def _xid_among(name: str) -> Any:
    """Whether the row's is one of several."""
    return any_(bindparam(name, type_=ARRAY(Xid8))) == XID


def _place(xid: str, id_: str) -> Any:
    return tuple_(_xid(xid), value_of(Change.id, id_))


def _quiet() -> Any:
    """As `_open`; by LATERAL, which walks the index: joined, what a bitmap finds is sorted."""
    one = select(_SNAPSHOT.label("snap")).subquery("s")
    rows = (
        select_of(_TABLE.label("tableoid"), XID.label("xid"), *_ROW[1:])
        .where(_place("xid", "id") <= _PLACE)
        .order_by(XID, col(Change.id))
        .limit(PAGE + 1)
        .lateral("c")
    )
    tableoid, xid, id_, *others = rows.c
    return (
        select_of(cast(one.c.snap, String), _READ_ONLY, tableoid, cast(xid, String), id_, *others)
        .select_from(one.outerjoin(rows, true()))
        .order_by(xid, id_)
    )


def _open(which: Any) -> Any:
    """The snapshot in which it is answered, and the rows; at least one row, of nothing."""
    one = select(_SNAPSHOT.label("snap")).subquery("s")
    return (
        select_of(cast(one.c.snap, String), _READ_ONLY, _TABLE, *_ROW)
        .select_from(one.outerjoin(Change, which))
        .order_by(XID, col(Change.id))
        .limit(PAGE + 1)
    )


def _newest() -> Any:
    one = select(_SNAPSHOT.label("snap")).subquery("s")
    last = (
        select_of(XID.label("xid"), Change.id, Change.nonce)
        .order_by(XID.desc(), col(Change.id).desc())
        .limit(1)
        .subquery("c")
    )
    oid = cast(func.to_regclass(literal(Change.__tablename__, String)), BigInteger)
    foreign = last.c.xid >= func.pg_snapshot_xmax(one.c.snap)
    xid, *place = last.c
    return select_of(
        cast(one.c.snap, String), _READ_ONLY, oid, cast(xid, String), *place,
        foreign,
    ).select_from(one.outerjoin(last, true()))  # fmt: skip


def _foreign() -> Any:
    written = table(Change.__tablename__, column("xid", Xid8()))
    ours = func.pg_snapshot_xmax(_SNAPSHOT)
    return update(written).where(written.c.xid >= ours).values(xid=cast(literal("0"), Xid8))


QUIET = _of_postgresql(_quiet)
"""Where nothing was under way. By the whole pair: the newest row's transaction may have written
thousands, all of them known."""
OPEN = _of_postgresql(
    lambda: _open((_xid("xid") < XID) | _xid_among("open") | (col(Change.id) == bindparam("id")))
)
KNOWN = _of_postgresql(
    lambda: select_of(
        cast(_SNAPSHOT, String),
        exists().where(
            col(Change.id) == bindparam("id"),
            col(Change.nonce) == bindparam("nonce"),
            bindparam("table", type_=BigInteger) == _TABLE,
        ),
    )
)
NEXT_PAGE = _of_postgresql(
    lambda: (
        select_of(*_ROW)
        .where((_xid("floor") < XID) | _xid_among("late"), _place("after_xid", "after_id") < _PLACE)
        .order_by(XID, col(Change.id))
        .limit(PAGE)
    )
)
NEWEST = _of_postgresql(_newest)
FOREIGN = _of_postgresql(_foreign)
