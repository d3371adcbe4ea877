"""What others feel while somebody floods the service with logins, as fast as they are answered."""

import argparse
import asyncio
import statistics
import time

from bench import processes, wrk
from bench.hashing import pinned_to
from bench.paced import connect
from bench.prepared import prepared
from bench.report import Figure
from bench.world import PASSWORD, Size
from identity.authentication.passwords.fair import LONGEST_WAIT

CONNECTIONS = 60
EVERY = 4
"""Times the idle time from one login of the others to the next: they alone are no flood."""
SETTLED = LONGEST_WAIT * 4 / 3 + 3
"""Seconds until addresses that flood are known by what they ask for. As long as hundred addresses
are new, so is everybody, and whoever came first goes first; nobody waits for longer. Meanwhile
others come, and are a quarter of the work (tests/authentication/passwords/test_fair_floods.py)."""
WITHIN = 4
"""Times the idle time, in which a login must succeed."""
IDLE = 8
"""Logins before the flood, and as many after it, that say what the idle time is."""


def floods(options: argparse.Namespace) -> list[Figure]:
    """With rightly typed passwords, so that counting failures does not help; and others who have
    never logged in before, so that nothing speaks for them."""
    count = 5 if options.smoke else 40
    figures = []
    for addresses in (1, 100):
        with (
            prepared("sqlite", Size()) as (folder, url, world, port),
            processes.service(
                folder, url, options.server_core, PORT=str(port), TRUSTED_PROXIES="127.0.0.1"
            ) as server,
            pinned_to(options.load_core),
        ):
            hostile = world.who_log_in("hostile", addresses)
            others = world.who_log_in("other", count + 2 * IDLE)
            idle, taken = asyncio.run(_beside(server.port, hostile, others))
        share = sum(one <= WITHIN * idle for one in taken) / len(taken)
        name = "logins that succeed within 4 × their idle time, beside "
        name += "1 hostile address" if addresses == 1 else f"{addresses} hostile addresses"
        median = statistics.median(taken) / idle
        figures += [
            Figure(name, share, "", at_least=0.95),
            Figure("the same, their median, × idle", median, "×"),
        ]
    return figures


async def _beside(port: int, hostile: list[str], others: list[str]) -> tuple[float, list[float]]:
    """Seconds of a login on the idle service, and of each of the others' beside the flood; those
    refused have taken for ever."""
    idle = await _one_by_one(port, others[:IDLE])
    every = EVERY * statistics.median(idle)
    meanwhile = others[IDLE:-IDLE]
    ended = asyncio.Event()
    flood = [
        asyncio.create_task(
            _hammer(port, hostile[n % len(hostile)], f"10.9.{n % len(hostile)}.1", ended)
        )
        for n in range(max(CONNECTIONS, len(hostile)))
    ]
    await asyncio.sleep(SETTLED)
    logins = []
    for name in meanwhile:
        logins.append(asyncio.create_task(_login(port, name)))
        await asyncio.sleep(every)
    taken = await asyncio.gather(*logins)
    ended.set()
    await asyncio.gather(*flood)
    return statistics.median(idle + await _one_by_one(port, others[-IDLE:])), taken


async def _one_by_one(port: int, names: list[str]) -> list[float]:
    return [await _login(port, name) for name in names]


async def _hammer(port: int, username: str, address: str, ended: asyncio.Event) -> None:
    connection = await connect(port)
    while not ended.is_set():
        await connection.ask(_request(username, address))
    connection.close()


async def _login(port: int, username: str) -> float:
    """By somebody at an address of their own."""
    address = f"10.1.{username.rpartition('-')[2]}.1"
    began = time.perf_counter()
    connection = await connect(port)
    status = await connection.ask(_request(username, address))
    connection.close()
    return time.perf_counter() - began if status == 200 else float("inf")


def _request(username: str, address: str) -> bytes:
    form = f"grant_type=password&username={username}&password={PASSWORD}"
    return wrk.request("POST", "/token", {"X-Forwarded-For": address}, form)
