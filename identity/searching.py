"""Looking for part of a name, as lists do over HTTP and at the command line."""

from typing import Any

from sqlalchemy import ColumnElement, func, or_


def contains(words: str, *columns: Any) -> ColumnElement[bool]:
    """Whether one of `columns` holds `words`, upper and lower case alike (on SQLite of ASCII)."""
    return or_(
        *(func.lower(column).contains(words.lower(), autoescape=True) for column in columns),
        *(column.contains(words, autoescape=True) for column in columns),
    )
