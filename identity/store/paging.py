"""Lists in pages. A page ends with a cursor, the last key it shows; the next begins behind it, so
that what comes and goes meanwhile is neither shown twice nor skipped."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

from identity.dataclass import dataclass
from identity.errors import ValidationFailed
from identity.store.database import Database
from identity.store.texts import storable

T = TypeVar("T")
Listed = TypeVar("Listed")


def cursor(key: str) -> str:
    return urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def key_of(cursor_: str) -> str:
    """Raises `ValidationFailed` for what `cursor` never made."""
    try:
        key = urlsafe_b64decode(cursor_ + "=" * (-len(cursor_) % 4)).decode()
    except ValueError:
        key = ""
    if not key or not storable(key) or cursor(key) != cursor_:
        raise ValidationFailed([("?after", "is not a cursor from this list")])
    return key


@dataclass(frozen=True, slots=True)
class Window:
    """What part of a list is asked for."""

    limit: int
    after: str | None
    """The key behind which it begins."""

    def take(
        self,
        session: Session,
        query: SelectOfScalar[Listed],
        key: Any,
        *,
        newest_first: bool = False,
        parse: Callable[[str], Any] = str,
    ) -> tuple[Sequence[Listed], str | None]:
        """The rows and the cursor of the next page. `key`: the unique column of the order;
        `parse`: a cursor's text as its value, raising `ValueError`."""
        if self.after is not None:
            try:
                after = parse(self.after)
            except ValueError:
                raise ValidationFailed([("?after", "is not a cursor from this list")]) from None
            query = query.where(key < after if newest_first else key > after)
        query = query.order_by(key.desc() if newest_first else key).limit(self.limit + 1)
        rows = session.exec(query).all()
        if len(rows) <= self.limit:
            return rows, None
        rows = rows[: self.limit]
        return rows, cursor(str(getattr(rows[-1], key.key)))


async def listed(db: Database, unit: Callable[[Session], T]) -> T:
    """The result of a unit that may look at many rows: never in the event loop."""
    if db.dialect == "postgresql":
        return await db.read(unit)  # in a thread of its own

    def look() -> T:
        with Session(db.engine) as session:
            return unit(session)

    return await asyncio.to_thread(look)
