"""`make bench`: see docs/performance.md for what it measures and how to read it."""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from bench import processes, siblings, wrk
from bench.jobs import INTROSPECTED, JOBS, Job
from bench.measure import Series, rounds
from bench.paced import flood, percentile, steady
from bench.report import Figure, Report
from bench.world import BASIC, PASSWORD, USERNAME, Size, World
from identity import migrating
from identity.settings import Settings
from identity.verifier.algorithms import ALGORITHMS
from tests.databases import Postgres

SERVER_CORE, LOAD_CORE = 0, 1


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """An empty database, durable as in production."""
    if dialect == "sqlite":
        yield f"sqlite:///{folder / 'identity.db'}"
        return
    server = Postgres(durable=True, options=["autovacuum=on"])
    try:
        yield server.create()
    finally:
        server.remove()


@contextmanager
def prepared(dialect: str, size: Size, **changed: str) -> Iterator[tuple[Path, str, World, int]]:
    """A folder, a filled database, the world beside it, and the port its issuer names."""
    with tempfile.TemporaryDirectory(prefix="identity-bench-") as name:
        folder = Path(name)
        port = processes.free_port()
        with database(dialect, folder) as url:
            settings = Settings.of(
                database_url=url,
                keys_dir=folder / "keys",
                port=port,
                **{key.lower(): value for key, value in changed.items()},
            )
            migrating.upgrade(settings)
            with processes.service(folder, url, None, PORT=str(port), **changed):
                pass  # bootstraps
            world = World(settings)
            world.fill(size)
            try:
                yield folder, url, world, port
            finally:
                world.close()


def main_jobs(dialect: str, options: argparse.Namespace) -> tuple[list[Series], list[Figure]]:
    """The table of jobs on one core, and what the server looked like afterwards."""
    chosen = [job for job in JOBS if not options.only or options.only in job.name]
    with (
        prepared(dialect, Size()) as (folder, url, world, port),
        processes.floor(folder, options.server_core) as floor,
        processes.service(folder, url, options.server_core, PORT=str(port)) as server,
    ):
        series = rounds(
            server, floor, world, chosen, dialect,
            count=options.rounds, seconds=options.seconds, core=options.load_core,
        )  # fmt: skip
        figures = [
            Figure(f"memory after load, {dialect}", server.rss[0], "MB", at_most=90),
            Figure(f"cold start to first 200, {dialect}", server.cold, "s", at_most=0.9),
            Figure(
                f"the same, {dialect}, × importing what it is built of",
                server.cold / processes.importing(options.server_core),
                "×",
            ),
        ]
    return series, figures


def rsa_signing(options: argparse.Namespace) -> list[Figure]:
    """`/token` client credentials with RS256 against the bare signature on the same core."""
    with (
        prepared("sqlite", Size(), SIGNING_ALGORITHM="RS256") as (folder, url, world, port),
        processes.service(
            folder, url, options.server_core, PORT=str(port), SIGNING_ALGORITHM="RS256"
        ) as server,
    ):
        job = next(job for job in JOBS if "client credentials" in job.name)
        ratios = []
        for _ in range(options.rounds):
            bare = _rate_on(options.server_core, _bare_rsa, options.seconds)
            load = wrk.run(
                server.port, job.requests(world, 1), seconds=options.seconds,
                core=options.load_core,
            )  # fmt: skip
            ratios.append(load.rate / bare)
    name = "/token client credentials, RS256-3072, × bare signatures"
    return [Figure(name, statistics.median(ratios), "×", at_least=0.85)]


def _bare_rsa() -> None:
    global _signer
    if _signer is None:
        _signer = ALGORITHMS["RS256"].signer(ALGORITHMS["RS256"].generate())
    _signer.sign(b"x" * 400)


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
        form = f"grant_type=password&username={USERNAME}&password={PASSWORD}"
        login = wrk.request("POST", "/token", {}, form)
        known = [
            wrk.request("POST", "/introspect", {"Authorization": BASIC}, f"token={token}")
            for token in world.access_tokens(INTROSPECTED)
        ]
        ratios, idle, busy, slowest = [], [], [], []
        for _ in range(options.rounds):
            floor = _rate_on(options.server_core, bare, long)
            load = wrk.run(
                server.port, [login], seconds=long, core=options.load_core, connections=4
            )
            ratios.append(load.rate / floor)
            with _pinned(options.load_core):
                idle.append(asyncio.run(steady(server.port, known, rate=500, seconds=seconds)))
                during, (statuses, refused) = asyncio.run(
                    _beside(server.port, known, login, rate=20 * floor, seconds=seconds)
                )
            busy.append(during)
            if not refused or set(statuses) - {200, 503}:
                raise wrk.LoadFailed(f"the flood was answered {statuses}")
            slowest.append(percentile(refused, 0.99))
    quiet = statistics.median(percentile(latencies, 0.99) for latencies in idle)
    flooded = statistics.median(percentile(latencies, 0.99) for latencies in busy)
    logins = "/token password, bcrypt 12, × bare checkpw"
    beside = "introspection p99 beside 20 × more logins than can be hashed, × idle"
    refusal = "an excess login is refused within (p99)"
    return [
        Figure(logins, statistics.median(ratios), "×", at_least=0.95),
        Figure(beside, flooded / quiet, "×", at_most=1.5),
        Figure(refusal, statistics.median(slowest), "ms", at_most=10),
    ]


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
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
    with _pinned(core):
        work()
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            work()
            count += 1
        return count / spent


def two_processes(options: argparse.Namespace) -> list[Figure]:
    """Two workers on two cores against one, in turn, the load on the same machine: the cheapest
    job, beside which the load itself takes much of the second core, and one that costs more."""
    figures = []
    with prepared("sqlite", Size()) as (folder, url, world, port):
        same = {"ISSUER": world.settings.issuer, "DEFAULT_AUDIENCE": world.settings.audience}
        with (
            processes.service(folder, url, None, PORT=str(port)) as one,
            processes.service(folder, url, None, workers=2, **same) as two,
        ):
            for job in (JOBS[0], next(job for job in JOBS if "client credentials" in job.name)):
                requests = job.requests(world, 1)

                for server in (one, two):
                    _unpinned_rate(server, requests, 2)
                ratios = []
                for _ in range(2 * options.rounds):
                    alone = _unpinned_rate(one, requests, options.seconds)
                    ratios.append(_unpinned_rate(two, requests, options.seconds) / alone)
                name = f"two processes on two cores, × one: {job.name}"
                figures.append(Figure(name, statistics.median(ratios), "×", at_least=1.4))
    return figures


def _unpinned_rate(server: processes.Process, requests: Sequence[bytes], seconds: float) -> float:
    return wrk.run(server.port, requests, seconds=seconds, core=None, connections=64).rate


def sizes(options: argparse.Namespace) -> list[Figure]:
    """Every job on a large database against the same job on a small one."""
    large = Size(
        users=options.users,
        clients=10_000,
        spent_refresh_tokens=options.users,
        revoked_tokens=100_000,
    )
    with (
        prepared("sqlite", Size()) as (folder, url, world, port),
        prepared("sqlite", large) as (folder2, url2, world2, port2),
        processes.service(folder, url, options.server_core, PORT=str(port)) as small_server,
        processes.service(folder2, url2, options.server_core, PORT=str(port2)) as large_server,
    ):
        figures = []
        for job in JOBS:
            ratios = []
            for _ in range(options.rounds):
                loads = [
                    _one_round(server, job, its_world, options)
                    for server, its_world in ((small_server, world), (large_server, world2))
                ]
                ratios.append(loads[0].rate / loads[1].rate)
            name = f"{job.name}: time with {options.users:,} users, × 1,000"
            figures.append(Figure(name, statistics.median(ratios), "×", at_most=1.25))
        figures.append(Figure("start-up on the large database", large_server.cold, "s", at_most=2))
        grown = large_server.rss[0] - small_server.rss[0]
        figures.append(
            Figure("memory on the large database, above the small", grown, "MB", at_most=10)
        )
    return figures


def siblings_part(options: argparse.Namespace) -> list[Figure]:
    """What siblings pay, and how soon they know (bench/siblings.py)."""
    with (
        prepared("sqlite", Size()) as (folder, url, world, port),
        processes.service(folder, url, options.server_core, PORT=str(port)) as server,
    ):
        return siblings.figures(server, world, folder, options)


def _one_round(
    server: processes.Process, job: Job, world: World, options: argparse.Namespace
) -> wrk.Load:
    requests = job.requests(world, options.seconds)
    if not job.once:
        wrk.run(server.port, requests, seconds=1, core=options.load_core)
    return wrk.run(
        server.port, requests, seconds=options.seconds, core=options.load_core, once=job.once
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="half a minute: does the harness work?"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="", help="only jobs whose name holds this")
    parser.add_argument("--revocations", type=int, default=1_000, help="how many are timed")
    parser.add_argument("--streams", type=int, default=1_000, help="siblings' streams held open")
    parser.add_argument("--users", type=int, default=1_000_000, help="size of the large database")
    parser.add_argument(
        "--parts",
        default="sqlite,postgresql,rsa,passwords,workers,siblings,sizes",
        help="what to measure",
    )
    parser.add_argument("--no-report", action="store_true", help="print only, write no file")
    options = parser.parse_args()
    if problem := wrk.missing():
        print(problem, file=sys.stderr)
        return 2
    several = len(os.sched_getaffinity(0)) > 1
    options.server_core = SERVER_CORE if several else None
    options.load_core = LOAD_CORE if several else None
    if options.smoke:
        options.rounds, options.seconds, options.no_report = 1, 1.0, True
        options.users, options.revocations, options.streams = 2_000, 20, 20
        options.parts = "sqlite,passwords,siblings"
    report = Report(options.rounds, options.seconds)
    parts = options.parts.split(",")
    for dialect in ("sqlite", "postgresql"):
        if dialect in parts:
            report.add_jobs(dialect, *main_jobs(dialect, options))
    more = {
        "rsa": rsa_signing,
        "passwords": passwords,
        "workers": two_processes,
        "sizes": sizes,
        "siblings": siblings_part,
    }
    for part, measure in more.items():
        if part in parts:
            report.add_figures(measure(options))
    if not options.no_report:
        report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
