"""The change feed's question to PostgreSQL: which rows can have become visible since the last one.

Nobody waits for anybody: writers commit as they come, and the rule of `store.positions` finds what
came out of order. A connection that is lost takes its position along: the next one may lead to
another server, so whoever follows begins anew. How long that may take is said by whoever asks.
"""

from typing import TYPE_CHECKING, Any

from identity.errors import Unavailable
from identity.store.feed_questions import FOREIGN, KNOWN, NEWEST, NEXT_PAGE, OPEN, QUIET
from identity.store.histories import Histories
from identity.store.positions import (
    NOTHING,
    PAGE,
    Mark,
    Position,
    Row,
    Tell,
    advanced,
    of_cluster,
    under_way,
)  # fmt: skip
from identity.store.statements import Statement, Values

if TYPE_CHECKING:
    from identity.store.connections import AsyncConnection


class PostgresSource:
    """One dedicated connection in autocommit mode, so that each query sees the newest commits."""

    def __init__(self, url: str, histories: Histories) -> None:
        import psycopg  # nine megabytes that a service on SQLite does without

        self._psycopg = psycopg
        self._url = url
        self._histories = histories
        self._connection: AsyncConnection | None = None
        self._table = 0

    @property
    def steady(self) -> bool:
        """Whether nobody has met another history than the one followed here."""
        made = self._connection
        return made is not None and made.generation == self._histories.generation

    async def begin(self) -> Position:
        """The newest position, on a connection just made."""
        from identity.store.connections import FEED, AsyncConnection

        await self.close()
        try:
            self._connection = await AsyncConnection.open(
                self._url, self._histories, leads=True, application_name=FEED
            )
            return await self._newest()
        except (self._psycopg.Error, OSError) as error:
            await self.close()
            raise Unavailable(audit=f"change feed: {type(error).__name__}: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def follow(self, position: Position, tell: Tell) -> Position | None:
        if not self.steady:
            return None
        try:
            return await self._follow(position, tell)
        except (self._psycopg.Error, OSError):
            await self.close()
            return None  # another connection may do, and begins anew
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()  # a few bytes into a socket: it waits for nobody

    async def _newest(self) -> Position:
        while True:
            (row,) = await self._ask(NEWEST)
            snapshot, read_only, self._table, xid, *mark, foreign = row
            _check_writable(read_only)
            found = self._histories.current
            assert found is not None
            history = of_cluster(found.system, found.timeline, self._table)
            if xid is None:
                return Position(history, NOTHING)
            if not foreign:
                newest = Mark(int(xid), *mark)
                return advanced(Position(history, NOTHING), newest, under_way(snapshot))
            # Copied from another cluster, whose transactions have had higher numbers.
            await self._ask(FOREIGN)

    async def _follow(self, position: Position, tell: Tell) -> Position | None:
        newest = position.newest
        xid = str(newest.xid)
        if position.open:
            answer = await self._ask(OPEN, xid=xid, open=_array(position.open), id=newest.id)
        else:
            answer = await self._ask(QUIET, xid=xid, id=newest.id)
        snapshot, read_only, *_ = answer[0]
        _check_writable(read_only)
        if newest == NOTHING:
            return position if answer[0][3] is None else None  # the first row ever
        if len(answer) > PAGE:
            return await self._follow_pages(position, tell)
        known = (self._table, xid, newest.id, newest.nonce)
        fresh = [row[3:] for row in answer if row[2:6] != known]
        if len(fresh) == len(answer):
            return None  # the newest row is gone: another history
        rows = [Row(int(row[0]), *row[1:]) for row in fresh]
        if rows:
            tell(rows)
            newest = max(newest, rows[-1].mark)
        elif not position.open and snapshot.endswith(":"):
            return position
        return advanced(position, newest, under_way(snapshot))

    async def _follow_pages(self, position: Position, tell: Tell) -> Position | None:
        """More than one page: all of it in one snapshot. The position moves after the last."""
        await self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", {})
        newest = position.newest
        ((snapshot, known),) = await self._ask(
            KNOWN, id=newest.id, nonce=newest.nonce, table=self._table
        )
        if not known:
            await self._execute("ROLLBACK", {})
            return None
        last = newest
        asked: dict[str, Any] = {"floor": str(newest.xid), "late": _array(position.open)}
        after: dict[str, Any] = {"after_xid": "0", "after_id": 0}
        while True:
            answer = await self._ask(NEXT_PAGE, **asked, **after)
            rows = [Row(int(row[0]), *row[1:]) for row in answer]
            if rows:
                tell(rows)
                after = {"after_xid": str(rows[-1].xid), "after_id": rows[-1].id}
                last = max(last, rows[-1].mark)
            if len(rows) < PAGE:
                break
        await self._execute("COMMIT", {})
        return advanced(position, last, under_way(snapshot))

    async def _ask(self, statement: Statement, **values: object) -> list[Any]:
        return await self._execute(statement.postgresql.text, values)

    async def _execute(self, query: str, values: Values) -> list[Any]:
        assert self._connection is not None
        cursor = await self._connection.execute(query, values, prepare=True)
        return await cursor.fetchall() if cursor.description else []


def _array(xids: frozenset[int]) -> list[str]:
    return [*map(str, xids)]


def _check_writable(read_only: str) -> None:
    if read_only != "off":
        raise Unavailable(audit="change feed: this server takes no writes")
