"""The table of changes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType
from sqlmodel import Field

from identity.store.types import BIG, Stored, UtcDateTime


class _Random(ColumnElement[int]):
    """62 random bits, drawn by the database."""

    inherit_cache = True


@compiles(_Random, "sqlite")
def _on_sqlite(element: _Random, compiler: Any, **options: Any) -> str:
    return "(random() & 4611686018427387903)"


@compiles(_Random, "postgresql")
def _on_postgresql(element: _Random, compiler: Any, **options: Any) -> str:
    return "floor(random() * 4611686018427387904)::bigint"


class Change(Stored, table=True):
    """On PostgreSQL there is one column more: `xid`, the transaction that wrote the row. The
    database fills in that and `nonce`, for writers that do not know of them too."""

    __tablename__ = "change"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    kind: str
    ref: str
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    nonce: int | None = Field(
        default=None, sa_type=BIG, nullable=False, sa_column_kwargs={"server_default": _Random()}
    )
    """No other row has it: after a restore another one may have the same id."""


class Xid8(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


XID: ColumnElement[str] = literal_column(f"{Change.__tablename__}.xid", Xid8())
"""PostgreSQL's column that the model does not have."""
