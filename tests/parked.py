"""PostgreSQL's end of a connection outlives the test that closed it, if the next one has the same
database (`tests.standing`): a new process of the server has to learn the whole schema anew, which
takes it longer than all that a test asks of it. The client's end is new each time."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from unittest import mock

from psycopg import generators
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, ExecStatus, PGconn, TransactionStatus

from identity.store.connections import AsyncConnection, Connection

_lock = Lock()
_free: dict[str, dict[str, list[PGconn]]] = {}
"""By database, and what the connection calls itself."""
_GONE = PGconn.connect_start(b"host=''")
_GONE.finish()


def allow(database: str) -> None:
    """From now on what is closed of this database is kept."""
    with _lock:
        _free[database] = defaultdict(list)


def forget(database: str) -> None:
    with _lock:
        kept = _free.pop(database, {})
    for connections in kept.values():
        for connection in connections:
            connection.finish()


def backends(database: str) -> list[int]:
    """The server's processes behind what is kept."""
    with _lock:
        kept = _free.get(database, {}).values()
        return [each.backend_pid for connections in kept for each in connections]


@contextmanager
def connections() -> Iterator[None]:
    """The service's own, and those alone."""
    connect, close, close_async = generators.connect, Connection.close, AsyncConnection.close

    def taken(conninfo: str, *args: Any, **options: Any) -> Generator[Any, Any, PGconn]:
        said = conninfo_to_dict(conninfo)
        place = str(said.get("dbname")), str(said.get("application_name"))
        while (connection := _taken(*place)) is not None:
            if connection.exec_(b"SELECT").status == ExecStatus.TUPLES_OK:
                return connection
            connection.finish()  # the server has ended its side since
        return (yield from connect(conninfo, *args, **options))

    def parked(self: Connection) -> None:
        if not _kept(self):
            close(self)

    async def parked_async(self: AsyncConnection) -> None:
        if not _kept(self):
            await close_async(self)

    with (
        mock.patch.object(generators, "connect", taken),
        mock.patch.object(Connection, "close", parked),
        mock.patch.object(AsyncConnection, "close", parked_async),
    ):
        yield


def _taken(database: str, name: str) -> PGconn | None:
    with _lock:
        kept = _free.get(database, {}).get(name)
        return kept.pop() if kept else None


def _kept(made: Connection | AsyncConnection) -> bool:
    """Whether the server's end is kept; then the client's is closed."""
    connection = made.pgconn
    if connection.status != ConnStatus.OK or connection.transaction_status != IDLE:
        return False
    place = _free.get(connection.db.decode())
    name = connection.parameter_status(b"application_name")
    if place is None or not name:
        return False
    if connection.exec_(b"DISCARD ALL").status != ExecStatus.COMMAND_OK:
        return False
    made._closed, made.pgconn = True, _GONE
    connection.notice_handler = connection.notify_handler = None
    with _lock:
        place[name.decode()].append(connection)
    return True


IDLE = TransactionStatus.IDLE
