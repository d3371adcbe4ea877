"""Connections to PostgreSQL, checked as they are made. Imported only where that is used.

No question is ever cancelled: a cancel during a commit ends PostgreSQL's wait for its standby, and
what is then committed here is not there. A question that has taken too long has its socket shut.
"""

import os
import socket
from contextlib import suppress
from typing import Any, NoReturn, Self

import psycopg
from psycopg.errors import Diagnostic

from identity.errors import Unavailable
from identity.store.histories import Histories, History

CHECK = """
SELECT system_identifier::text,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END,
       pg_postmaster_start_time()::text || ' ' || current_setting('port'),
       current_setting('transaction_read_only'), current_setting('fsync'),
       current_setting('synchronous_commit')
FROM pg_control_system()"""
DURABLE = "SET synchronous_commit = 'on'"


class Unfit(Unavailable):
    """This server will never do; `audit` says why."""


class _Marked:
    """`generation`: of the history that it was made in. `unsure`: PostgreSQL has ended its wait
    for a standby, so nobody knows whether what was committed will last."""

    pgconn: Any
    generation = 0
    unsure = False

    def sever(self) -> None:
        """Shut the socket down: whoever waits on it hears of it at once, the server is asked
        nothing."""
        with suppress(OSError, psycopg.Error):
            own = socket.socket(fileno=os.dup(self.pgconn.socket))
            with own:
                own.shutdown(socket.SHUT_RDWR)

    def heed(self, notice: Diagnostic) -> None:
        if notice.source_function == "SyncRepWaitForLSN":
            self.unsure = True

    def check_outcome(self) -> None:
        if self.unsure:
            self.unsure = False
            raise Unavailable(audit="the commit no longer waited for its standby")


class Connection(_Marked, psycopg.Connection[Any]):
    """For threads. Made in autocommit mode."""

    @classmethod
    def open(cls, url: str, histories: Histories, within: float, **options: Any) -> Self:
        """Raises `Unavailable` for a server that must not be used, else psycopg's errors."""
        made = cls.connect(url, autocommit=True, connect_timeout=_whole(within), **options)
        try:
            made.add_notice_handler(made.heed)
            try:
                (row,) = made.execute(CHECK).fetchall()
            except psycopg.Error as error:
                _explain(error)
            if _judge(made, row, histories):
                made.execute(DURABLE)
        except BaseException:
            made.close()
            raise
        return made


class AsyncConnection(_Marked, psycopg.AsyncConnection[Any]):
    """For the event loop, in autocommit mode."""

    @classmethod
    async def open(cls, url: str, histories: Histories, **options: Any) -> Self:
        """As `Connection.open`; the caller limits its time."""
        made = await cls.connect(
            url, autocommit=True, connect_timeout=_whole(30), prepare_threshold=1, **options
        )
        try:
            made.add_notice_handler(made.heed)
            try:
                (row,) = await (await made.execute(CHECK)).fetchall()
            except psycopg.Error as error:
                _explain(error)
            if _judge(made, row, histories):
                await made.execute(DURABLE)
        except BaseException:
            await made.close()
            raise
        return made

    async def cancel_safe(self, **_: float) -> None:
        """What psycopg calls when whoever waits is cancelled."""
        self.sever()


def _judge(made: _Marked, row: tuple[Any, ...], histories: Histories) -> bool:
    """Whether the connection must be told to commit durably."""
    system, file, server, read_only, fsync, commit = row
    if file is None or read_only != "off":
        raise Unavailable(audit="this server takes no writes")
    if fsync == "off":
        raise Unfit(audit="this server has fsync=off: a crash would lose what was revoked")
    made.generation = histories.meet(History(system, int(file[:8], 16), server))
    return bool(commit == "off")


def _explain(error: psycopg.Error) -> NoReturn:
    """A server that does not know what PostgreSQL knows only speaks its protocol."""
    if isinstance(error, psycopg.OperationalError):
        raise error
    raise Unfit(
        audit="this server speaks PostgreSQL's protocol, but does not say which history it is in: "
        f"{str(error).splitlines()[0]}"
    ) from error


def _whole(seconds: float) -> int:
    return max(2, round(seconds))  # libpq takes nothing less
