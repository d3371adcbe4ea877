"""Connections to PostgreSQL, checked as they are made. Imported only where that is used.

No question is ever cancelled: a cancel during a commit ends PostgreSQL's wait for its standby, and
what is then committed here is not there. A question that has taken too long has its socket shut.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache, partial
from typing import Any, Generic, NoReturn, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic

from identity.errors import Unavailable
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


AGAIN = 0.2
"""Seconds until it is considered to ask a host again that takes no writes, while another says
nothing at all. The change feed does it then, for all of the process: a crowd that asks for
connections would else fall upon the standby that is about to take over. All others do it once the
feed has met another history."""
PATIENCE = 0.5
"""Seconds for which the silent ones are waited for, from when they were asked, once one of them
will do."""


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


C = TypeVar("C", bound=_Marked)


class Choice(Generic[C]):
    """Which of several hosts, asked side by side: the one at the highest timeline that takes
    writes. A host that is frozen says nothing, and one of the others may take its place meanwhile:
    while somebody is silent, those that take no writes are asked again. `leads`: is the change
    feed's."""

    def __init__(
        self, hosts: Sequence[str], histories: Histories, within: float, *, leads: bool
    ) -> None:
        self._histories = histories
        self._generation = histories.generation
        self._leads = leads
        self._silent = {*hosts}
        self._began = time.monotonic()
        self._within = within
        self._error: BaseException | None = None
        self.found: C | None = None
        self.kept: C | None = None

    @property
    def left(self) -> float:
        """Seconds for which somebody is still waited for; none where it is decided."""
        found = self.found
        if not self._silent or (found and self._histories.is_newest(found.history)):
            return 0.0
        patience = self._within if found is None else PATIENCE
        return max(self._began + patience - time.monotonic(), 0.0)

    def heard(self, host: str, answer: Any) -> bool:
        """What `host` has said, as a future that is done. Whether it will do."""
        self._silent.discard(host)
        if error := answer.exception():
            self._error = error
            return False
        made: C = answer.result()
        if self.found is None or made.history.timeline > self.found.history.timeline:
            self.found = made
        return True

    @property
    def worth_it(self) -> bool:
        """Whether one that took no writes may take them now."""
        return self._leads or self._histories.generation != self._generation

    def decide(self) -> None:
        """Nobody else is waited for; the others are closed by whoever asked them."""
        self.kept = self.found

    def taken(self) -> C:
        """The one that was decided for, or why there is none."""
        if self.kept is None:
            raise self._error or Unavailable(audit="no answer in time")
        return self.kept


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
            histories.join(self, self.history, fragile=self.fragile)
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
    async def open(cls, url: str, histories: Histories, **options: Any) -> Self:
        """As `Connection.open`; the caller limits its time."""
        hosts = hosts_of(url)
        if len(hosts) == 1:
            return await (await cls._ask(hosts[0], options))._joined(histories)
        leads = options.get("application_name") == FEED
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
            histories.join(self, self.history, fragile=self.fragile)
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
