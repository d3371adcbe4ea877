"""The jobs that are one slow primitive each, against that primitive alone on the same core; and
what others feel while passwords are hashed."""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import bcrypt

from bench import doors, processes, wrk
from bench.jobs import INTROSPECTED, JOBS
from bench.paced import flood, not_asked, percentile, steady
from bench.prepared import prepared
from bench.registered import WEB_RSA
from bench.report import Figure
from bench.world import BASIC, PASSWORD, USERNAME, Size, World
from identity.verifier.gate.algorithms import ALGORITHMS


def rsa_signing(options: argparse.Namespace) -> list[Figure]:
    """RS256 against the bare signature on the same core: `/token` client credentials, and a code
    for an ID token."""
    job = next(job for job in JOBS if "client credentials" in job.name)
    return [
        _by_rsa(
            "/token client credentials, RS256-3072, × bare signatures", job.requests, 0.85, options,
            SIGNING_ALGORITHM="RS256",
        ),
        _by_rsa(
            "/token code, RS256-3072 ID token, × bare signatures",
            partial(doors.redeem, client_id=WEB_RSA), 0.8, options, once=True,
        ),
    ]  # fmt: skip


def _by_rsa(
    name: str,
    requests: Callable[[World, float], Sequence[bytes]],
    at_least: float,
    options: argparse.Namespace,
    once: bool = False,
    **changed: str,
) -> Figure:
    with (
        prepared("sqlite", Size(), **changed) as (folder, url, world, port),
        processes.service(folder, url, options.server_core, PORT=str(port), **changed) as server,
    ):
        ratios = []
        for _ in range(options.rounds):
            bare = _rate_on(options.server_core, _bare_rsa, options.seconds)
            load = wrk.run(
                server.port, requests(world, options.seconds), seconds=options.seconds,
                core=options.load_core, once=once,
            )  # fmt: skip
            ratios.append(load.rate / bare)
    return Figure(name, statistics.median(ratios), "×", at_least=at_least)


def _bare_rsa() -> None:
    global _signer
    if _signer is None:
        _signer = ALGORITHMS["RS256"].signer(ALGORITHMS["RS256"].generate())
    _signer(b"x" * 400)


_signer = None


def passwords(options: argparse.Namespace) -> list[Figure]:
    """Logins at bcrypt 12 against bare `bcrypt.checkpw` on the same core; then a flood of them
    beside paced introspection."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12))

    def bare() -> None:
        bcrypt.checkpw(PASSWORD.encode(), hashed)

    seconds = max(4.0, options.seconds)
    # What is under way when the time is up does not count, and takes a tenth of a second.
    long = seconds if options.smoke else max(10.0, seconds)
    with (
        prepared("sqlite", Size()) as (folder, url, world, port),
        processes.service(folder, url, options.server_core, PORT=str(port)) as server,
    ):
        # Of one account two may wait at the most.
        names = [USERNAME, *world.who_log_in("login", 3)]
        form = f"grant_type=password&password={PASSWORD}&username="
        logins = [wrk.request("POST", "/token", {}, form + name) for name in names]
        login = logins[0]
        known = [
            wrk.request("POST", "/introspect", {"Authorization": BASIC}, f"token={token}")
            for token in world.access_tokens(INTROSPECTED)
        ]
        ratios, idle, busy, slowest, missed = [], [], [], [], []
        for _ in range(options.rounds):
            floor = _rate_on(options.server_core, bare, long)
            load = wrk.run(server.port, logins, seconds=long, core=options.load_core, connections=4)
            ratios.append(load.rate / floor)
            with pinned_to(options.load_core):
                idle.append(asyncio.run(steady(server.port, known, rate=500, seconds=seconds)))
                during, (statuses, refused, unasked) = asyncio.run(
                    _beside(server.port, known, login, rate=20 * floor, seconds=seconds)
                )
            busy.append(during)
            missed.append(max(not_asked(idle[-1]), not_asked(during)))
            missed.append(unasked / (unasked + sum(statuses.values())))
            if not refused or set(statuses) - {200, 503}:
                raise wrk.LoadFailed(f"the flood was answered {statuses}")
            slowest.append(percentile(refused, 0.99))
    quiet = statistics.median(percentile(latencies, 0.99) for latencies in idle)
    flooded = statistics.median(percentile(latencies, 0.99) for latencies in busy)
    speed = "/token password, bcrypt 12, × bare checkpw"
    beside = "introspection p99 beside 20 × more logins than can be hashed, × idle"
    refusal = "an excess login is refused within (p99)"
    return [
        Figure(speed, statistics.median(ratios), "×", at_least=0.95),
        Figure(beside, flooded / quiet, "×", at_most=1.5),
        Figure(refusal, statistics.median(slowest), "ms", at_most=10),
        Figure("of these paced requests, not asked: the machine was too slow", max(missed), ""),
    ]


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """This process on `core`, as `wrk` is when it makes the load."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _beside(port, known, login, *, rate, seconds):  # type: ignore[no-untyped-def]
    return await asyncio.gather(
        steady(port, known, rate=500, seconds=seconds),
        flood(port, login, rate=rate, seconds=seconds),
    )


def _rate_on(core: int | None, work, seconds: float) -> float:  # type: ignore[no-untyped-def]
    """Calls a second of `work` on `core`, by this process."""
    with pinned_to(core):
        work()
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            work()
            count += 1
        return count / spent
