"""Looking for part of a name, as lists do over HTTP and at the command line."""

from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import Session

from identity.store.driver import dialect


def contains(words: str, *columns: Any) -> ColumnElement[bool]:
    """Whether one of `columns` holds `words`, upper and lower case alike (on SQLite of ASCII)."""
    return or_(
        *(func.lower(column).contains(words.lower(), autoescape=True) for column in columns),
        *(column.contains(words, autoescape=True) for column in columns),
    )


HIGHEST = "\U0010ffff"
"""No text has more behind it."""


def begins(session: Session, column: Any, words: str) -> ColumnElement[bool]:
    """Whether `column` begins with `words`, exactly: a stretch of an index. On PostgreSQL of one
    with `text_pattern_ops`, whose order is by code point, whatever the database's language is."""
    if dialect(session) == "postgresql":
        return and_(column.op("~>=~")(words), column.op("~<~")(words + HIGHEST))
    return and_(column >= words, column < words + HIGHEST)
