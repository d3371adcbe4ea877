"""Bouts of hostility among which valid requests are answered as ever, and after which the process
is as large as before and has as many files open."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.databases import wait_until
from tests.faults.replicas import Line, Replicas
from tests.faults.stages import started
from tests.trials.row import Dice, Outcome, Place

INVALID = 1_000
IDLE = 300
SLOW = 30
VALID = 25
WITHIN = 1.0
"""Seconds in which a valid request is answered meanwhile."""
WARM = 4
"""Bouts before the process is measured: what is kept once is kept then."""
LARGER = 0.05
"""By how much of itself the process may grow."""


@dataclass
class Besieged:
    replicas: Replicas
    token: str
    line: Line
    size: float = 0.0
    files: int = 0

    @property
    def process(self) -> Path:
        return Path(f"/proc/{self.replicas.servers[0].pid}")

    def measure(self) -> tuple[float, int]:
        """Megabytes in memory, and open files."""
        status = (self.process / "status").read_text()
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if "VmRSS" in line)
        return int(kilobytes) / 1024, len(list((self.process / "fd").iterdir()))


@contextmanager
def besieged(database: str, place: Place) -> Iterator[Besieged]:
    with (
        started(database, place, 1, MAX_CONNECTIONS_PER_ADDRESS="2000") as replicas,
        replicas.lines() as (line,),
    ):
        token = line.log_in(replicas.user().username)["access_token"]
        stage = Besieged(replicas, token, line)
        for number in range(WARM):
            bout(stage, Dice(-number), Outcome())
        stage.size, stage.files = stage.measure()
        yield stage


def stays_the_same(stage: Besieged, dice: random.Random) -> Outcome:
    seen = Outcome()
    bout(stage, dice, seen)
    look_at(stage, seen)
    return seen


def look_at(stage: Besieged, seen: Outcome) -> None:
    """Whether the process is as it was when it was measured; what it still closes is waited for."""
    try:
        wait_until(lambda: stage.measure()[1] <= stage.files + 2, 20, lambda: "")
    except TimeoutError:
        seen.see(False, f"{stage.measure()[1]} open files, before {stage.files}")
    size, _ = stage.measure()
    grown = size / stage.size - 1
    seen.strain(grown <= LARGER, f"{grown:.1%} larger: {stage.size:.1f} MB, then {size:.1f} MB")
    seen.measured |= {"MB": size, "grown, %": 100 * grown}


def bout(stage: Besieged, dice: random.Random, seen: Outcome) -> None:
    place = ("127.0.0.1", stage.replicas.servers[0].port)
    with ExitStack() as ends, stage.replicas.lines() as (line,):
        for _ in range(IDLE):
            ends.enter_context(socket.create_connection(place, 5))
        for number in range(SLOW):
            slow = ends.enter_context(socket.create_connection(place, 5))
            if number % 2:  # it never says the end
                slow.sendall(b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\na=")
            else:  # it never reads
                slow.setblocking(False)
                with suppress(BlockingIOError, ConnectionError):
                    for _ in range(50):
                        slow.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        for number in range(INVALID):
            _strike(line, dice, stage.token, seen)
            if number % (INVALID // VALID) == 0:
                began = time.monotonic()
                seen.see(stage.line.active(stage.token), "a good token was refused")
                took = time.monotonic() - began
                seen.strain(took < WITHIN, f"a valid request took {took:.2f} s")
                seen.measured["longest valid, s"] = max(
                    took, seen.measured.get("longest valid, s", 0.0)
                )


def _strike(line: Line, dice: random.Random, token: str, seen: Outcome) -> None:
    """A token that is none, in one of the places for tokens."""
    at = dice.randrange(1, len(token))
    forged = dice.choice(
        (
            token[:at] + dice.choice("abcXYZ019_-.") + token[at + 1 :] + "A",
            token[:at],
            "x" * dice.randrange(1, 4000),
            f"{dice.getrandbits(256):x}.{dice.getrandbits(512):x}.{dice.getrandbits(256):x}",
            "rt_" + f"{dice.getrandbits(256):064x}",
        )
    )
    match dice.randrange(4):
        case 0:
            answer = line.get("/users/me", authorization=f"Bearer {forged}")
            refused = answer.status == 401
        case 1:
            answer = line.refresh(forged)
            refused = answer.status == 400
        case 2:
            answer = line.post("/revoke", token=forged)
            refused = answer.status in (200, 400)
        case _:
            answer = line.post("/introspect", token=forged)
            refused = answer.status == 200 and answer.document == {"active": False}
    seen.see(refused, f"{answer.status} to a forged token")
