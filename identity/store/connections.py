"""Connections to PostgreSQL, checked as they are made. Imported only where that is used.

No question is ever cancelled: a cancel during a commit ends PostgreSQL's wait for its standby, and
what is then committed here is not there. A question that has taken too long has its socket shut.
"""

import asyncio
import os
import socket
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache, partial
from typing import Any, NoReturn, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic

from identity.errors import Unavailable
from identity.store.choosing import AGAIN, Choice
from identity.store.deadlines import CHORE
from identity.store.histories import Histories, History, Unfit

CHECK = """
SELECT system_identifier::text,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END,
       pg_postmaster_start_time()::text || ' ' || current_setting('port'),
       current_setting('transaction_read_only'), current_setting('fsync'),
       current_setting('synchronous_commit')
FROM pg_control_system()"""
DURABLE = "SET synchronous_commit = 'on'"
FEED, WORK = "identity change feed 2", "identity 2"
"""What connections call themselves. The number says how the change feed is read: by transaction. A
version that reads it by id says none (`store.contracting`)."""


class _Marked:
    """`generation`: of the history that it was made in. `unsure`: PostgreSQL has ended its wait
    for a standby, so nobody knows whether what was committed will last."""

    pgconn: Any
    generation = 0
    unsure = False
    fragile = False
    """Its server has fsync=off."""
    history: History

    def judge(self, row: tuple[Any, ...]) -> bool:
        """Whether the connection must be told to commit durably. `Unavailable` where its server
        must not be used."""
        system, file, server, read_only, fsync, commit = row
        if file is None or read_only != "off":
            raise Unavailable(audit="this server takes no writes")
        self.fragile = fsync == "off"
        self.history = History(system, int(file[:8], 16), server)
        return bool(commit == "off")

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
        hosts = hosts_of(url)
        if len(hosts) == 1:
            return cls._ask(hosts[0], within, options)._joined(histories)
        choice: Choice[Self] = Choice(hosts, histories, within, leads=False)
        threads = ThreadPoolExecutor(len(hosts), "connecting")
        over = threading.Event()
        asked = {threads.submit(cls._ask, host, within, options): host for host in hosts}
        waiting: set[Future[Self]] = {*asked}
        try:
            while left := choice.left:
                done, waiting = wait(waiting, left, return_when=FIRST_COMPLETED)
                for one in done:
                    if not choice.heard(asked[one], one):
                        again = threads.submit(
                            cls._ask_again, choice, over, asked[one], within, options
                        )
                        asked[again] = asked[one]
                        waiting.add(again)
            choice.decide()
        finally:
            over.set()
            threads.shutdown(wait=False)
            for one in asked:
                one.add_done_callback(partial(cls._discard, choice))
        return choice.taken()._joined(histories)

    def _joined(self, histories: Histories) -> Self:
        try:
            histories.join(self)
        except BaseException:
            self.close()
            raise
        return self

    @classmethod
    def _discard(cls, choice: "Choice[Self]", asked: "Future[Self]") -> None:
        if asked.exception() is None and asked.result() is not choice.kept:
            asked.result().close()

    @classmethod
    def _ask_again(
        cls,
        choice: "Choice[Self]",
        over: threading.Event,
        url: str,
        within: float,
        options: dict[str, Any],
    ) -> Self:
        while not over.wait(AGAIN):
            if choice.worth_it:
                return cls._ask(url, within, options)
        raise Unavailable(audit="it is over")

    @classmethod
    def _ask(cls, url: str, within: float, options: dict[str, Any]) -> Self:
        made = cls.connect(url, autocommit=True, connect_timeout=_whole(within), **options)
        try:
            made.add_notice_handler(made.heed)
            try:
                (row,) = made.execute(CHECK).fetchall()
            except psycopg.Error as error:
                _explain(error)
            if made.judge(row):
                made.execute(DURABLE)
        except BaseException:
            made.close()
            raise
        return made


class AsyncConnection(_Marked, psycopg.AsyncConnection[Any]):
    """For the event loop, in autocommit mode."""

    @classmethod
    async def open(
        cls, url: str, histories: Histories, *, leads: bool = False, **options: Any
    ) -> Self:
        """As `Connection.open`; the caller limits its time. `leads`: see `Choice`."""
        hosts = hosts_of(url)
        if len(hosts) == 1:
            return await (await cls._ask(hosts[0], options))._joined(histories)
        choice: Choice[Self] = Choice(hosts, histories, CHORE, leads=leads)
        asked = {asyncio.create_task(cls._ask(host, options)): host for host in hosts}
        waiting = {*asked}
        try:
            while left := choice.left:
                done, waiting = await asyncio.wait(
                    waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    if not choice.heard(asked[one], one):
                        again = asyncio.create_task(cls._ask_again(choice, asked[one], options))
                        asked[again] = asked[one]
                        waiting.add(again)
            choice.decide()
        finally:
            for task in waiting:
                task.cancel()
            for made in await asyncio.gather(*asked, return_exceptions=True):
                if not isinstance(made, BaseException) and made is not choice.kept:
                    await made.close()
        return await choice.taken()._joined(histories)

    async def _joined(self, histories: Histories) -> Self:
        try:
            histories.join(self)
        except BaseException:
            await self.close()
            raise
        return self

    @classmethod
    async def _ask_again(cls, choice: "Choice[Self]", url: str, options: dict[str, Any]) -> Self:
        await asyncio.sleep(AGAIN)
        while not choice.worth_it:  # noqa: ASYNC110
            await asyncio.sleep(AGAIN)
        return await cls._ask(url, options)

    @classmethod
    async def _ask(cls, url: str, options: dict[str, Any]) -> Self:
        made = await cls.connect(
            url, autocommit=True, connect_timeout=_whole(30), prepare_threshold=1, **options
        )
        try:
            made.add_notice_handler(made.heed)
            try:
                (row,) = await (await made.execute(CHECK)).fetchall()
            except psycopg.Error as error:
                _explain(error)
            if made.judge(row):
                await made.execute(DURABLE)
        except BaseException:
            await made.close()
            raise
        return made

    async def cancel_safe(self, **_: float) -> None:
        """What psycopg calls when whoever waits is cancelled."""
        self.sever()


@cache
def hosts_of(url: str) -> list[str]:
    """libpq's address, once for each host that it names."""
    parameters: dict[str, Any] = conninfo_to_dict(url)
    names = [name for name in ("host", "hostaddr", "port") if "," in str(parameters.get(name, ""))]
    count = max((str(parameters[name]).count(",") + 1 for name in names), default=1)
    if count == 1:
        return [url]
    each = {name: str(parameters[name]).split(",") for name in names}
    return [
        make_conninfo(**parameters | {name: each[name][n] or None for name in names})
        for n in range(count)
    ]


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
