"""What tables are made of: what all of them are, and column types that mean the same on both
databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, MetaData
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

# Names by rule, so that a migration can name what it drops, on both databases.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


_METADATA = MetaData(naming_convention=_NAMES)


class Stored(SQLModel, registry=registry(metadata=_METADATA)):
    """A row of a table of ours. A sibling's own tables, which may have the same names, are in
    SQLModel's metadata; ours may be in the same process, in its tests (`identity.testing`).

    A row is never validated by its table: only what prints one (`cli.printing`) needs what pydantic
    would build for each table at every start.

    Each table has a registry of its own. SQLAlchemy prepares all tables of a registry for the ORM
    when somebody first asks for one of them, and most processes never ask for two thirds.
    """

    model_config = {"defer_build": True}

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls._sa_registry = registry(metadata=_METADATA)


BIG = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit integer; SQLite's own are that, and only so named do they number rows."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases (SQLite stores it naive)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
