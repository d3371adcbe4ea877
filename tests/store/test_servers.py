"""Which servers are refused, and in which words."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from identity.errors import Unavailable
from identity.settings import Settings, SettingsError
from identity.store import connections, servers
from identity.store.connections import AsyncConnection, Connection, hosts_of
from identity.store.histories import Histories, History
from tests.databases import wait_until

one_server = pytest.mark.parametrize("dialect", ["postgresql"])


@one_server
def test_a_server_that_fits_is_taken(database_url: str) -> None:
    servers.examine(Settings.of(database_url=database_url))


@one_server
def test_a_pooler_that_changes_connections_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PID", "SELECT 4711")
    with pytest.raises(SettingsError, match="pooler in transaction mode"):
        servers.examine(Settings.of(database_url=database_url))


@one_server
def test_an_engine_that_only_speaks_the_protocol_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CHECK", "SELECT no_such_function()")
    with pytest.raises(SettingsError, match="does not say which history"):
        servers.examine(Settings.of(database_url=database_url))


@one_server
def test_a_server_that_loses_commits_in_a_crash_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connections, "CHECK", connections.CHECK.replace("current_setting('fsync')", "'off'")
    )
    with pytest.raises(SettingsError, match="fsync=off"):
        servers.examine(Settings.of(database_url=database_url))


@one_server
def test_a_commit_is_durable_whatever_the_server_thinks_best(database_url: str) -> None:
    with psycopg.connect(database_url) as plain:
        assert plain.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with Connection.open(database_url, Histories(), 5) as ours:
        assert ours.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_a_timeline_below_one_that_was_seen_is_refused() -> None:
    histories = Histories()
    assert histories.meet(History("7", 1, "a")) == 1
    assert histories.meet(History("7", 1, "a")) == 1
    assert histories.meet(History("7", 2, "b")) == 2
    with pytest.raises(Unavailable):
        histories.meet(History("7", 1, "a"))
    assert histories.meet(History("7", 2, "c")) == 3  # two standbys, promoted at once
    assert histories.meet(History("8", 1, "a")) == 4  # restored into another cluster


@one_server
def test_whoever_waits_for_a_server_of_before_is_let_go_when_another_history_is_met(
    database_url: str,
) -> None:
    """That server may be frozen, and say nothing for as long as it likes."""
    histories = Histories(for_tests=True)
    with (
        Connection.open(database_url, histories, 5) as waits,
        Connection.open(database_url, Histories(for_tests=True), 5) as promoted,
        psycopg.connect(database_url, autocommit=True) as watching,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(waits.execute, "SELECT pg_sleep(600)")
        asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        pid = [waits.info.backend_pid]
        wait_until(lambda: bool(watching.execute(asleep, pid).fetchall()), 30, lambda: "not yet")
        before = promoted.history
        promoted.history = before._replace(timeline=before.timeline + 1)
        histories.join(promoted)
        with pytest.raises(psycopg.OperationalError):
            waiting.result(60)
        assert promoted.execute("SELECT 1").fetchone() == (1,)
        watching.execute("SELECT pg_terminate_backend(%s)", pid)


def test_hosts_are_read_as_libpq_writes_them() -> None:
    assert hosts_of("postgresql://a@h1:1,h2:2/db") == [
        "user=a dbname=db host=h1 port=1", "user=a dbname=db host=h2 port=2",
    ]  # fmt: skip
    assert hosts_of("postgresql://a@h1,h2/db?sslmode=require") == [
        "user=a dbname=db host=h1 sslmode=require", "user=a dbname=db host=h2 sslmode=require",
    ]  # fmt: skip
    assert hosts_of("postgresql://h1:5/db") == ["postgresql://h1:5/db"]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that is frozen: its kernel takes connections, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Each time that a server is asked what it is. It takes no writes before the third."""
    asked: list[None] = []
    judge = connections._Marked.judge

    def judged(self: Any, row: Any) -> bool:
        asked.append(None)
        if len(asked) < 3:
            raise Unavailable(audit="this server takes no writes")
        return judge(self, row)

    monkeypatch.setattr(connections._Marked, "judge", judged)
    return asked


def opened_by_a_thread(url: str, histories: Histories) -> None:
    with Connection.open(url, histories, 20) as made:
        made.execute("SELECT 1")


def opened_by_the_loop(url: str, histories: Histories, *, leads: bool = False) -> None:
    async def opened() -> None:
        made = await AsyncConnection.open(url, histories, leads=leads)
        await made.execute("SELECT 1")
        await made.close()

    asyncio.run(opened())


def opened_by_the_feed(url: str, histories: Histories) -> None:
    opened_by_the_loop(url, histories, leads=True)


Opened = Callable[[str, Histories], None]
either_way = pytest.mark.parametrize("opened", [opened_by_a_thread, opened_by_the_loop])


def beside(database_url: str, port: int) -> str:
    """Two hosts: the server of `database_url`, and another port."""
    host = psycopg.conninfo.conninfo_to_dict(database_url)
    return psycopg.conninfo.make_conninfo(
        **host | {"host": f"127.0.0.1,{host['host']}", "port": f"{port},{host['port']}"}
    )


@one_server
def test_a_standby_that_takes_over_from_a_frozen_primary_is_found_by_the_feed(
    database_url: str, silent: int, asked: list[None]
) -> None:
    opened_by_the_feed(beside(database_url, silent), Histories(for_tests=True))
    assert len(asked) == 3


@one_server
@either_way
def test_who_asked_before_a_standby_took_over_asks_it_again_when_the_feed_has_found_it(
    database_url: str, silent: int, asked: list[None], opened: Opened
) -> None:
    histories = Histories(for_tests=True)
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(opened, beside(database_url, silent), histories)
        wait_until(lambda: len(asked) == 1, 30, lambda: "it was not asked")
        asked.append(None)  # the third is the next
        opened_by_the_feed(database_url, histories)
        opening.result(60)
    assert len(asked) == 4


@one_server
@either_way
def test_where_all_hosts_have_answered_nobody_is_asked_again(
    database_url: str, asked: list[None], opened: Opened
) -> None:
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))  # and nobody listens
        with pytest.raises((Unavailable, psycopg.OperationalError)):
            opened(beside(database_url, gone.getsockname()[1]), Histories(for_tests=True))
    assert len(asked) == 1
