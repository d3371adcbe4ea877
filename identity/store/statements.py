"""Statements written once, with SQLAlchemy's Core over the tables, and given to the driver as text.

To put one together costs SQLAlchemy ten times what SQLite takes to answer it. So each is put
together once for each dialect, when it is first needed, and kept: what a request costs is that of
raw SQL, and what is renamed in a table is renamed in every statement.

`bindparam("name")` is a parameter; any other value stands in the text as a literal. Rows come back
as the driver gives them: on SQLite times are text (`moment` reads both), JSON is text and a bool is
an integer.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson
from sqlalchemy import (
    JSON,
    BindParameter,
    DateTime,
    Executable,
    Insert,
    Select,
    bindparam,
    insert,
    select,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.sql.compiler import SQLCompiler

DialectName = Literal["sqlite", "postgresql"]
Values = Mapping[str, Any]
Store = Callable[[Any], Any]

BOTH: tuple[DialectName, ...] = ("sqlite", "postgresql")
STATEMENTS: list["Statement"] = []
"""All there are, for the tests that explain each of them."""


class Spelling(NamedTuple):
    """A statement in the driver's words. `stores`: what makes of a parameter what the driver takes;
    those not named are taken as they are."""

    text: str
    types: dict[str, TypeEngine[Any]]
    stores: tuple[tuple[str, Store], ...]

    def stored(self, values: Values) -> Values:
        """`values` as the driver takes them."""
        if not self.stores:
            return values
        bound = dict(values)
        for name, store in self.stores:
            value = bound[name]
            if value is not None:
                bound[name] = store(value)
        return bound


class Statement:
    """`build` is called when it is first needed, once for each of `dialects`, of both if none is
    named."""

    def __init__(self, build: Callable[[], Executable], *dialects: DialectName) -> None:
        self._build = build
        self.dialects = dialects or BOTH
        self.made_in = build.__module__
        STATEMENTS.append(self)

    def core(self, dialect: DialectName) -> Any:
        """For a statement that is made of this one."""
        return self._build()

    @cached_property
    def sqlite(self) -> Spelling:
        return _spelt(self.core("sqlite"), "sqlite")

    @cached_property
    def postgresql(self) -> Spelling:
        return _spelt(self.core("postgresql"), "postgresql")


class StatementBy(Statement):
    """For what each dialect has a construct of its own: `build` is told which one it is for."""

    def __init__(self, build: Callable[[DialectName], Executable]) -> None:
        super().__init__(lambda: build("sqlite"))
        self._build_for = build
        self.made_in = build.__module__

    def core(self, dialect: DialectName) -> Any:
        return self._build_for(dialect)


def stored_time(at: datetime) -> str:
    """An aware UTC datetime as SQLAlchemy writes it into SQLite."""
    return at.isoformat(" ", "microseconds")[:26]


def stored_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def select_of(*columns: Any) -> Select[Any]:
    """SQLAlchemy's `select` for any number of a model's fields, whose types it does not know."""
    return select(*columns)


def insert_of(table: Any, parameters: Mapping[Any, str]) -> Insert:
    """One row: columns, each with the name of its parameter."""
    return insert(table).values({c: bindparam(name) for c, name in parameters.items()})


def value_of(column: Any, name: str) -> BindParameter[Any]:
    """A parameter, where nothing beside it says that it is of the column's type."""
    return bindparam(name, type_=column.type)


def insert_for(dialect: str, table: Any) -> Any:
    """Both dialects spell INSERT … ON CONFLICT alike, each with a class of its own. The other
    one's is not imported: PostgreSQL's is two megabytes that SQLite does without."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _spelt(core: Any, name: DialectName) -> Spelling:
    compiled: SQLCompiler = core.compile(dialect=_dialect(name))
    if made := [*compiled.insert_prefetch, *compiled.update_prefetch]:
        raise TypeError(f"nobody makes the values of {', '.join(map(str, made))}")
    types = {name: parameter.type for name, parameter in compiled.binds.items()}
    found = ((parameter, _store(type_, name)) for parameter, type_ in types.items())
    stores = tuple((parameter, store) for parameter, store in found if store is not None)
    return Spelling(str(compiled), types, stores)


def _store(type_: TypeEngine[Any], dialect: DialectName) -> Store | None:
    kind = type_.impl if isinstance(type_, TypeDecorator) else type_
    if isinstance(kind, JSON):
        return stored_json
    return stored_time if isinstance(kind, DateTime) and dialect == "sqlite" else None


@cache
def _dialect(name: DialectName) -> "DefaultDialect":
    """As the engine's own, with named parameters and everything else in the text."""
    dialect: DefaultDialect
    if name == "postgresql":
        from sqlalchemy.dialects.postgresql import psycopg

        dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
    else:
        from sqlalchemy.dialects.sqlite import pysqlite

        dialect = pysqlite.dialect(paramstyle="named")
    bases: Any = (_Literals, dialect.statement_compiler)
    dialect.statement_compiler = type("Compiler", bases, {})  # type: ignore[assignment]
    return dialect


class _Literals:
    """Of a compiler: a parameter that has its value already is a literal."""

    def visit_bindparam(self, parameter: Any, **options: Any) -> str:
        if not parameter.required:
            options["literal_binds"] = True
        text: str = super().visit_bindparam(parameter, **options)  # type: ignore[misc]
        return text
