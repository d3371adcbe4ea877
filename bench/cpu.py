"""Processor time from the kernel's accounts of each process, so neighbours hardly change it."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def spent(pid: int) -> float:
    """Seconds of processor time of a process and all below it that live, and of those that it has
    buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = "".join(
            (task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()
        )
    except FileNotFoundError:
        return 0.0
    return sum(map(int, stat[11:15])) * _TICK + sum(spent(int(child)) for child in below.split())


def buried() -> float:
    """Seconds of all that this process has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def postmaster(url: str) -> Iterator[int]:
    """The server's first process, while a connection of ours is open that does nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
        yield int(stat.rpartition(")")[2].split()[1])


def each(items: Sequence[Any], work: Callable[[Any], object]) -> list[float]:
    """Seconds of processor time for each."""
    taken = []
    for item in items:
        began = time.process_time()
        work(item)
        taken.append(time.process_time() - began)
    return taken
