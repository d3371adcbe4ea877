"""One worker of two is killed: its clients hear of it at once, the other worker goes on, and a
successor serves soon."""

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.databases import wait_until
from tests.faults.replicas import settings_of
from tests.serving import Server
from tests.trials.row import Outcome, Place

CONNECTIONS = 8
AT_ONCE = 1.0
"""Seconds in which whoever was connected to the killed worker hears so."""
SUCCEEDED = 2.0
"""Seconds from the kill until two workers serve."""
LONGEST = 40.0
ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def two_workers(database: str, place: Place) -> Iterator[Server]:
    url = place.templates.fresh(database, place.folder)
    settings = settings_of(url, place.folder) | {"LOG_LEVEL": "info"}
    server = Server(place.folder, settings, workers=2)
    try:
        wait_until(lambda: begun(server) == 2, 20, lambda: "the second never came")
        yield server
    finally:
        server.stop()
        place.templates.discard(url)


def children(server: Server) -> set[int]:
    told = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in told.split()}


def begun(server: Server) -> int:
    """How many workers have begun to serve, since the start."""
    return server.log.read_text(errors="replace").count('"serving"')


def asked(connection: socket.socket) -> bool:
    """Whether the other end still answers; False once it has gone."""
    try:
        connection.sendall(ASK)
        return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except TimeoutError:
        raise
    except OSError:
        return False


def one_of_two_killed(server: Server, dice: random.Random) -> Outcome:
    seen, before = Outcome(), begun(server)
    victim = dice.choice(sorted(children(server)))
    place = ("127.0.0.1", server.port)
    with ExitStack() as ends:
        kept = [ends.enter_context(socket.create_connection(place, 5)) for _ in range(CONNECTIONS)]
        seen.see(all(map(asked, kept)), "a connection was not answered before")
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        cut = 0
        for connection in kept:
            connection.settimeout(AT_ONCE)
            try:
                cut += not asked(connection)
            except TimeoutError:
                seen.strain(False, f"a client was not cut within {AT_ONCE:g} s")
        seen.measured["connections cut"] = cut
        while begun(server) == before and time.monotonic() - killed_at < LONGEST:
            time.sleep(0.02)
            try:
                with socket.create_connection(place, 5) as fresh:
                    seen.see(asked(fresh), "a new connection was cut")
            except OSError as error:
                seen.see(False, f"a new connection: {error}")
        seen.see(begun(server) > before, f"nobody succeeded it within {LONGEST:g} s")
        seen.recovered(time.monotonic() - killed_at)
        still = sum(asked(connection) for connection in kept)
        seen.see(still == CONNECTIONS - cut, "the other worker's clients were cut too")
    return seen
