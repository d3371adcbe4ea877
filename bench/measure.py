"""Rounds: floors and jobs in turn, so that a slow minute of the machine hits both alike."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.jobs import Job
from bench.processes import Process
from bench.world import World
from bench.wrk import Load, request, run

# Bare requests of the size of ours.
FLOOR_GET = [request("GET", "/", {"Authorization": "Bearer " + "x" * 600})]
FLOOR_POST = [request("POST", "/", {"Authorization": "Basic " + "x" * 60}, "token=" + "x" * 600)]


@dataclass
class Series:
    """One job's rounds, each beside its floor's of the seconds before."""

    name: str
    goal: float | None
    loads: list[Load] = field(default_factory=list)
    floors: list[Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(load.rate for load in self.loads)

    @property
    def ratio(self) -> float:
        """Median over the rounds of rate / floor."""
        pairs = zip(self.loads, self.floors, strict=True)
        return statistics.median(load.rate / floor.rate for load, floor in pairs)

    @property
    def spread(self) -> float:
        """(largest − smallest) / median of the rate."""
        rates = [load.rate for load in self.loads]
        return (max(rates) - min(rates)) / self.rate

    @property
    def p50(self) -> float:
        return statistics.median(load.p50 for load in self.loads)

    @property
    def p99(self) -> float:
        return statistics.median(load.p99 for load in self.loads)

    @property
    def floor_p99(self) -> float:
        return statistics.median(floor.p99 for floor in self.floors)


def rounds(
    server: Process,
    floor: Process,
    world: World,
    jobs: Sequence[Job],
    dialect: str,
    *,
    count: int,
    seconds: float,
    core: int | None,
) -> list[Series]:
    """`count` rounds of every job, each right behind a floor of its own."""
    series = [Series(job.name, job.goal.get(dialect)) for job in jobs]
    reusable = {job.name: job.requests(world, seconds) for job in jobs if not job.once}
    for requests in reusable.values():
        run(server.port, requests, seconds=1, core=core)
    floor_requests = {"GET": FLOOR_GET, "POST": FLOOR_POST}
    for _ in range(count):
        for job, seen in zip(jobs, series, strict=True):
            requests = reusable.get(job.name) or job.requests(world, seconds)
            if not job.once and len(requests) > 1:
                # Known tokens are known: another job may have had them forgotten since.
                run(server.port, requests, seconds=seconds, core=core, once=True)
            bare = floor_requests[job.floor]
            seen.floors.append(run(floor.port, bare, seconds=seconds, core=core))
            seen.loads.append(run(server.port, requests, seconds=seconds, core=core, once=job.once))
    return series
