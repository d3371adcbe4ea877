"""PostgreSQL's advisory locks, all that the service takes, each until the transaction ends.

Versions that share a database must mean the same by a number: none is ever given another meaning.
SQLite has no such locks; its write transaction is one at a time by itself.
"""

from enum import IntEnum

from sqlalchemy.sql.functions import Function
from sqlmodel import Session, func, select

from identity.store.driver import Plain, Work, dialect


class Lock(IntEnum):
    MIGRATION = 0x6D696772617465
    FIRST_START = 0x626F6F74000000
    KEYS = 0x6B6579730000
    """Whoever makes, rotates or revokes signing keys."""
    AUDIT_CHAIN = 0x61756469740000
    """The one sealer at work."""
    REGISTRATIONS = 0x72656769737465
    """Whoever registers itself, so that they can be counted."""
    CONFIGURATION = 0x6170706C790000
    """Whoever makes what files say there should be."""
    CHANGES = 0x6964656E74697479 >> 1
    """Who writes to the change feed, while a version may run that reads it by id."""


def taken(lock: Lock) -> Function[None]:
    """For PostgreSQL's statements: evaluated once nobody else holds it."""
    return func.pg_advisory_xact_lock(lock.value)


def take(session: Session, lock: Lock) -> None:
    """Return once nobody else holds it."""
    if dialect(session) == "postgresql":
        session.execute(select(taken(lock)))


def try_to_take(work: Work, lock: Lock) -> bool:
    """False where somebody else holds it."""
    if isinstance(work, Plain) or dialect(work) != "postgresql":
        return True
    asked = select(func.pg_try_advisory_xact_lock(lock.value))
    return bool(work.execute(asked).scalar_one())
