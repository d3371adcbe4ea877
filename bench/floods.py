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

CONNECTIONS = 60
EVERY = 1.0
"""Seconds from one login of the others to the next."""
SETTLED = 10.0
"""Seconds until addresses that flood are known by what they ask for. As long as hundred addresses
are new, so is everybody, and whoever came first goes first."""
WITHIN = 4
"""Times the idle time, in which a login must succeed."""


def floods(options: argparse.Namespace) -> list[Figure]:
    """With rightly typed passwords, so that counting failures does not help; and others who have
    never logged in before, so that nothing speaks for them."""
    seconds = 5.0 if options.smoke else max(30.0, 4 * options.seconds)
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
            others = world.who_log_in("other", int(seconds / EVERY) + 8)
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
    first, others = others[:8], others[8:]
    idle = [await _login(port, name, f"10.1.{n}.1") for n, name in enumerate(first)]
    until = time.perf_counter() + SETTLED + EVERY * len(others)
    flood = [
        asyncio.create_task(
            _hammer(port, hostile[n % len(hostile)], f"10.9.{n % len(hostile)}.1", until)
        )
        for n in range(max(CONNECTIONS, len(hostile)))
    ]
    await asyncio.sleep(SETTLED)
    logins = []
    for n, name in enumerate(others):
        logins.append(asyncio.create_task(_login(port, name, f"10.2.{n}.1")))
        await asyncio.sleep(EVERY)
    taken = await asyncio.gather(*logins)
    await asyncio.gather(*flood)
    return statistics.median(idle), taken


async def _hammer(port: int, username: str, address: str, until: float) -> None:
    connection = await connect(port)
    while time.perf_counter() < until:
        await connection.ask(_request(username, address))
    connection.close()


async def _login(port: int, username: str, address: str) -> float:
    began = time.perf_counter()
    connection = await connect(port)
    status = await connection.ask(_request(username, address))
    connection.close()
    return time.perf_counter() - began if status == 200 else float("inf")


def _request(username: str, address: str) -> bytes:
    form = f"grant_type=password&username={username}&password={PASSWORD}"
    return wrk.request("POST", "/token", {"X-Forwarded-For": address}, form)
