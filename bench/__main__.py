"""`make bench`: see docs/performance.md for what it measures and how to read it."""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import processes, siblings, wrk
from bench.commands import commands
from bench.floods import floods
from bench.hashing import passwords, rsa_signing
from bench.jobs import JOBS, Job
from bench.measure import Series, rounds
from bench.pages import pages
from bench.prepared import LOAD_CORE, SERVER_CORE, prepared
from bench.report import Figure, Report
from bench.world import Size, World
from bench.writers import writers


def main_jobs(dialect: str, options: argparse.Namespace) -> tuple[list[Series], list[Figure]]:
    """The table of jobs on one core, and what the server looked like afterwards; what siblings
    alone leave in a process is looked at in one of its own, which no door has been asked of."""
    chosen = [job for job in JOBS if not options.only or options.only in job.name]
    with prepared(dialect, Size()) as (folder, url, world, port):
        with processes.service(folder, url, options.server_core, PORT=str(port)) as first:
            for job in JOBS:
                if job.sibling:
                    _one_round(first, job, world, options)
            under_siblings = first.rss[0]
        with (
            processes.floor(folder, options.server_core) as floor,
            processes.service(folder, url, options.server_core, PORT=str(port)) as server,
        ):
            series = rounds(
                server, floor, world, chosen, dialect,
                count=options.rounds, seconds=options.seconds, core=options.load_core,
            )  # fmt: skip
            figures = [
                Figure(f"memory after siblings' jobs, {dialect}", under_siblings, "MB", at_most=90),
                Figure(f"memory after the jobs above, {dialect}", server.rss[0], "MB"),
            ]
        figures += _cold_start(dialect, folder, url, port, options)
    return series, figures


def _cold_start(
    dialect: str, folder: Path, url: str, port: int, options: argparse.Namespace
) -> list[Figure]:
    """Starts, and in turn with them what importing the packages alone takes."""
    starts, ratios = [], []
    for _ in range(options.rounds):
        with processes.service(folder, url, options.server_core, PORT=str(port)) as server:
            starts.append(server.cold)
        ratios.append(server.cold / processes.importing(options.server_core))
    name = f"cold start to first 200, {dialect}"
    return [
        Figure(name, statistics.median(starts), "s", at_most=0.9),
        Figure(
            f"the same, {dialect}, × importing what it is built of", statistics.median(ratios), "×"
        ),
    ]


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
        default="sqlite,postgresql,rsa,passwords,floods,commands,workers,writers,siblings,sizes,pages",
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
        "floods": floods,
        "commands": commands,
        "workers": two_processes,
        "writers": writers,
        "sizes": sizes,
        "siblings": siblings_part,
        "pages": pages,
    }
    for part, measure in more.items():
        if part in parts:
            report.add_figures(part, measure(options))
    if not options.no_report:
        report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
