"""The audit's table on PostgreSQL in partitions, for whoever keeps more events than memory can hold
the indexes of (docs/decisions/0070-partitions.md).

Partitions are stretches of ids, which are given in the order of time. So the primary key stays what
it was, no statement changes, and versions that know nothing of this read and write as ever. `seq`
is unique within each partition, and the chain is one by its sealer's lock.

What is in no partition yet goes into one for the rest: an event is never refused for want of one.
"""

# ruff: noqa: S608 - the names of this table and its partitions, and numbers

import re
from collections.abc import Iterator
from typing import Any

from sqlmodel import Session

from identity.dataclass import dataclass
from identity.errors import Unavailable
from identity.records.audit.table import AuditEvent
from identity.settings import SettingsError
from identity.store import Database, dialect
from identity.store.locks import Lock, take, try_to_take

_TABLE = str(AuditEvent.__tablename__)
_SEQUENCE = f"{_TABLE}_id_seq"
_FIRST, _REST, _BOUND = (f"{_TABLE}_{name}" for name in ("first", "rest", "ck_before"))
SIZE = 50_000_000
"""Events of a partition: a few gigabytes of indexes."""
MARGIN = 10_000_000
"""Events that may be written between the first step and the last of making partitions."""
AHEAD = 2
"""Partitions that are there before an event needs them."""
PATIENCE, PATIENCE_ONCE = "500ms", "3s"
"""How long it may wait for a lock, for whoever comes meanwhile waits behind it."""


@dataclass(frozen=True)
class Part:
    """Ids from `first`, included, to `end`, not included. None: without a bound on that side."""

    name: str
    first: int | None
    end: int | None


def parts(session: Session) -> list[Part]:
    """In order; none where the table is in one piece."""
    if dialect(session) != "postgresql":
        return []
    found = _rows(
        session,
        "SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid)"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        f" WHERE i.inhparent = to_regclass('{_TABLE}')",
    )
    ranges = [
        Part(name, *(_number(bound) for bound in re.findall(r"\(([^)]*)\)", words)))
        for name, words in found
        if words != "DEFAULT"
    ]
    return sorted(ranges, key=lambda part: part.end or 0)


def _number(bound: str) -> int | None:
    return None if bound in ("MINVALUE", "MAXVALUE") else int(bound.strip("'"))


# --- From one piece to partitions -----------------------------------------------------------


def convert(db: Database, size: int = SIZE, margin: int = MARGIN) -> bool:
    """Make the table the first partition of one that takes its name, while the service runs; False
    where that has been done. Cut off at any step, the next call begins anew.

    Nobody waits but for the last step, which changes the catalog alone. Raises `SettingsError` on
    SQLite, and where others held the table for too long.
    """
    if db.dialect != "postgresql":
        raise SettingsError("IDENTITY_DATABASE_URL: only PostgreSQL has partitions")
    try:
        return _converted(db, size, margin)
    except Unavailable as error:
        if "LockNotAvailable" not in (error.audit or ""):
            raise
        raise SettingsError(
            f"others have held the table {_TABLE} for {PATIENCE_ONCE}: nothing has changed, try "
            "again"
        ) from None


def _converted(db: Database, size: int, margin: int) -> bool:
    with db.transaction() as session:
        _alone(session)
        if parts(session):
            return False
        end = _last(session) + margin + 1
        _run(session, f"ALTER TABLE {_TABLE} DROP CONSTRAINT IF EXISTS {_BOUND}")
        # Once it is known to hold, the table becomes a partition without being read again.
        _run(
            session,
            f"ALTER TABLE {_TABLE} ADD CONSTRAINT {_BOUND} CHECK (id < {end}) NOT VALID",
        )
    with db.transaction() as session:
        _run(session, f"ALTER TABLE {_TABLE} VALIDATE CONSTRAINT {_BOUND}")
    with db.transaction() as session:
        _alone(session)
        if parts(session):
            return False  # somebody else has done it meanwhile
        _swap(session, _promised(session, checked=True), size)
    with db.transaction() as session:
        _run(session, f"ANALYZE {_TABLE}")
    return True


def _promised(session: Session, *, checked: bool) -> int:
    """Below what all ids stay until the table is a partition; 0 where nobody makes it one, or it
    has not been `checked` that they do."""
    found = _rows(
        session,
        "SELECT substring(pg_get_constraintdef(oid) FROM '[0-9]+')::bigint FROM pg_constraint"
        f" WHERE conrelid = to_regclass('{_TABLE}') AND conname = '{_BOUND}'"
        f" AND (convalidated OR NOT {checked})",
    )
    return int(found[0][0]) if found else 0


def _swap(session: Session, end: int, size: int) -> None:
    if not end:
        raise SettingsError("somebody else is at it, too: try again")
    _run(session, f"LOCK TABLE {_TABLE} IN ACCESS EXCLUSIVE MODE")
    owner, grants = _owner(session), _grants(session)
    indexes = _rows(
        session,
        "SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisunique"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" WHERE i.indrelid = to_regclass('{_TABLE}')",
    )
    for name, *_ in indexes:
        _run(session, f"ALTER INDEX {name} RENAME TO {name}_first")
    _run(session, f"ALTER TABLE {_TABLE} RENAME TO {_FIRST}")
    _run(
        session,
        f"CREATE TABLE {_TABLE} (LIKE {_FIRST} INCLUDING DEFAULTS) PARTITION BY RANGE (id)",
    )
    _run(session, f"ALTER TABLE {_TABLE} OWNER TO {owner}")
    for name, words, primary, unique in indexes:
        if primary:
            _run(session, f"ALTER TABLE {_TABLE} ADD CONSTRAINT {name} PRIMARY KEY (id)")
        elif not unique:
            _run(session, words)
    _run(
        session,
        f"ALTER TABLE {_TABLE} ATTACH PARTITION {_FIRST} FOR VALUES FROM (MINVALUE) TO ({end})",
    )
    _run(session, f"ALTER TABLE {_FIRST} DROP CONSTRAINT {_BOUND}")
    _make(session, _REST, "DEFAULT")
    for place in range(AHEAD):
        _make_range(session, end + place * size, size)
    for words in grants:
        _run(session, words)
    _run(session, f"ALTER SEQUENCE {_SEQUENCE} OWNED BY {_TABLE}.id")


def _owner(session: Session) -> str:
    ((owner,),) = _rows(
        session,
        "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class"
        f" WHERE oid = to_regclass('{_TABLE}')",
    )
    return str(owner)


def _grants(session: Session) -> list[str]:
    """What gives others the rights that they have."""
    given = _rows(
        session,
        "SELECT a.privilege_type, a.is_grantable,"
        " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
        " FROM pg_class c, aclexplode(c.relacl) a"
        f" WHERE c.oid = to_regclass('{_TABLE}') AND a.grantee <> c.relowner",
    )
    ends = {True: " WITH GRANT OPTION", False: ""}
    return [f"GRANT {right} ON {_TABLE} TO {whom}{ends[further]}" for right, further, whom in given]


# --- Ahead and behind -----------------------------------------------------------------------


def concerned(session: Session) -> bool:
    """Whether the table is in partitions, or somebody has begun to put it there."""
    return bool(parts(session)) or (
        dialect(session) == "postgresql" and _promised(session, checked=False) > 0
    )


@dataclass(frozen=True)
class Tended:
    made: list[str]
    dropped: list[str]


def tend(session: Session) -> Tended:
    """Make partitions before events need them, and drop those that archiving has emptied. What was
    cut off while it made the first one, and that nobody took up again, must not refuse events.
    Nothing where this user may not."""
    tended = Tended([], [])
    if not _may(session) or not try_to_take(session, Lock.MIGRATION):
        return tended
    _run(session, f"SET LOCAL lock_timeout = '{PATIENCE}'")
    last, found = _last(session), parts(session)
    if not found:
        promised = _promised(session, checked=False)
        if promised and last > promised - MARGIN // 2:
            _run(session, f"ALTER TABLE {_TABLE} DROP CONSTRAINT {_BOUND}")
            tended.dropped.append(_BOUND)
        return tended
    for first, size in _missing(found, last):
        tended.made.append(_make_range(session, first, size))
    for part in found[:-AHEAD]:
        # The oldest are emptied first: nothing behind one that still holds something is looked at.
        if part.end is None or part.end > last or not _drop_empty(session, part):
            break
        tended.dropped.append(part.name)
    return tended


def _may(session: Session) -> bool:
    """Whether this user owns the table, as one of its owner's role does, and may make others."""
    ((may,),) = _rows(
        session,
        "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')"
        f" FROM pg_class WHERE oid = to_regclass('{_TABLE}')",
    )
    return bool(may)


def _missing(found: list[Part], last: int) -> Iterator[tuple[int, int]]:
    """First id and size of those to make, so that `AHEAD` lie wholly above the last id given."""
    newest = found[-1]
    assert newest.end is not None
    size = newest.end - (newest.first or 0)
    ready = sum(1 for part in found if (part.first or 0) > last)
    first = newest.end
    if first <= last:  # nobody came by for long: what has been given is among the rest
        first = last + size + 1
    for place in range(AHEAD - ready):
        yield first + place * size, size


def _drop_empty(session: Session, part: Part) -> bool:
    """Whether it is gone. Whoever has drawn an id of it and writes later writes among the rest."""
    if _rows(session, f"SELECT id FROM {part.name} ORDER BY id LIMIT 1"):
        return False
    _run(session, f"LOCK TABLE ONLY {_TABLE} IN ACCESS EXCLUSIVE MODE")
    _run(session, f"LOCK TABLE {part.name} IN ACCESS EXCLUSIVE MODE")
    if _rows(session, f"SELECT id FROM {part.name} ORDER BY id LIMIT 1"):
        return False
    _run(session, f"DROP TABLE {part.name}")
    return True


def _make_range(session: Session, first: int, size: int) -> str:
    name = f"{_TABLE}_{first}"
    _make(session, name, f"FOR VALUES FROM ({first}) TO ({first + size})")
    return name


def _make(session: Session, name: str, bounds: str) -> None:
    _run(session, f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS)")
    # Whoever runs the command, later migrations and `tend` are the owner's of all of it.
    _run(session, f"ALTER TABLE {name} OWNER TO {_owner(session)}")
    _run(session, f"ALTER TABLE {name} ADD CONSTRAINT uq_{name}_seq UNIQUE (seq)")
    # It makes the other indexes. Writers go on; readers of all of it wait while the rest is empty
    # enough to be looked through.
    _run(session, f"ALTER TABLE {_TABLE} ATTACH PARTITION {name} {bounds}")


def _alone(session: Session) -> None:
    """No migration meanwhile, and nobody kept waiting for long."""
    _run(session, f"SET LOCAL lock_timeout = '{PATIENCE_ONCE}'")
    take(session, Lock.MIGRATION)


def _last(session: Session) -> int:
    """The last id that was given."""
    ((last, called),) = _rows(session, f"SELECT last_value, is_called FROM {_SEQUENCE}")
    return int(last) if called else 0


def _rows(session: Session, query: str) -> list[Any]:
    return list(session.connection().exec_driver_sql(query).all())


def _run(session: Session, statement: str) -> None:
    session.connection().exec_driver_sql(statement)
