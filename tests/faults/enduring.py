"""An hour of siege: ten thousand connections that say nothing, and a million invalid tokens
among valid requests. Afterwards the process is as large as it was as the siege began."""

import random
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.hostile import INVALID, WARM, Besieged, bout, look_at
from tests.faults.stages import started
from tests.trials.row import Dice, Outcome, Place

CROWD = 10_000
HOUR = 3600.0
TOKENS = 1_000_000
LIFE = "12h"
"""Of the one good token, which is asked for until the end."""
SPARE = 1_000
"""Files beside those that this process and the server need for the crowd."""


class Crowd:
    """Connections on which nothing is ever said; the server ends each after a while, and another
    takes its place."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: dict[int, socket.socket] = {}
        self._ended = select.poll()
        self.made = 0

    def fill(self) -> None:
        for number, _ in self._ended.poll(0):
            self._ended.unregister(number)
            self._open.pop(number).close()
        while len(self._open) < CROWD:
            one = socket.create_connection(("127.0.0.1", self._port), 20)
            self._open[one.fileno()] = one
            self._ended.register(one, select.POLLIN | select.POLLHUP)
            self.made += 1

    def disperse(self) -> None:
        for one in self._open.values():
            one.close()
        self._open.clear()
        self._ended = select.poll()


@dataclass
class Siege:
    besieged: Besieged
    crowd: Crowd


def lacking() -> str:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return "" if most >= CROWD + SPARE else f"it may open {most:,} files only"


@contextmanager
def siege(database: str, place: Place) -> Iterator[Siege]:
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    room = {name: str(CROWD + SPARE) for name in ("MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS")}
    with (
        started(database, place, 1, **room, ACCESS_TOKEN_TTL=LIFE) as replicas,
        replicas.lines() as (line,),
    ):  # fmt: skip
        token = line.log_in(replicas.user().username)["access_token"]
        stage = Siege(Besieged(replicas, token, line), Crowd(replicas.servers[0].port))
        try:
            for number in range(WARM):
                stage.crowd.fill()
                bout(stage.besieged, Dice(-number), Outcome())
            stage.besieged.size, stage.besieged.files = stage.besieged.measure()
            yield stage
        finally:
            stage.crowd.disperse()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


def an_hour(
    stage: Siege, dice: random.Random, seconds: float = HOUR, tokens: int = TOKENS
) -> Outcome:
    """And longer, until so many invalid tokens were sent."""
    seen, until, sent = Outcome(), time.monotonic() + seconds, 0
    held = stage.besieged
    while time.monotonic() < until or sent < tokens:
        stage.crowd.fill()
        once = Outcome()
        bout(held, dice, once)
        seen.add(once)
        sent += INVALID
    look_at(held, seen)
    seen.measured |= {"invalid tokens": sent, "idle connections made": stage.crowd.made}
    return seen
