"""Which servers are refused, and in which words."""

import psycopg
import pytest

from identity.errors import Unavailable
from identity.settings import Settings, SettingsError
from identity.store import connections, servers
from identity.store.connections import Connection, hosts_of
from identity.store.histories import Histories, History

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


def test_hosts_are_read_as_libpq_writes_them() -> None:
    assert hosts_of("postgresql://a@h1:1,h2:2/db") == [
        "user=a dbname=db host=h1 port=1", "user=a dbname=db host=h2 port=2",
    ]  # fmt: skip
    assert hosts_of("postgresql://a@h1,h2/db?sslmode=require") == [
        "user=a dbname=db host=h1 sslmode=require", "user=a dbname=db host=h2 sslmode=require",
    ]  # fmt: skip
    assert hosts_of("postgresql://h1:5/db") == ["postgresql://h1:5/db"]
