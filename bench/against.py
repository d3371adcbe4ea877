"""`make bench-against ARGS=COMMIT`: what each job costs beside what it cost at that commit.

Both services run at once, each filled and started by its own code, with the packages of this
environment, and are sent the same number of requests in turn (A B B A …). What counts is the CPU
time of the service's process, its threads included: beside other work it changes far less than a
rate. It only ever grows by that work, so the least of each is shown beside the medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import wrk
from bench.prepared import LOAD_CORE, SERVER_CORE
from tests.databases import ROOT

SIDE = ROOT / "bench" / "side.py"
AFTERWARDS = 1.2
"""Seconds in which a service does what it puts off: it writes events each second."""
IDLE = 10.0
"""Seconds for which it is watched while nobody asks: its chores are not a request's."""


class Side:
    """A service of `checkout`, and whoever makes its requests."""

    def __init__(self, checkout: Path, folder: Path, dialect: str, core: int | None) -> None:
        self._file = folder / "requests"
        command = [sys.executable, "-P", str(SIDE), dialect, "" if core is None else str(core)]
        self._maker = subprocess.Popen(
            command, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        said = self._heard()
        self._port, self._pid = said["port"], said["pid"]
        self.jobs: list[str] = said["jobs"]
        self._idle = 0.0

    def rest(self) -> float:
        """CPU seconds in a second without requests, to be taken off what they cost."""
        began, before = time.monotonic(), self._cpu()
        time.sleep(IDLE)
        self._idle = (self._cpu() - before) / (time.monotonic() - began)
        return self._idle

    def stop(self) -> None:
        """Waits until its service has ended."""
        self._maker.communicate(timeout=60)

    def cost(self, job: str, count: int, core: int | None) -> float:
        """Microseconds of CPU a request."""
        assert self._maker.stdin is not None
        print(json.dumps([job, count, str(self._file)]), file=self._maker.stdin, flush=True)
        self._heard()
        requests = self._file.read_bytes().split(b"\0")
        began, before = time.monotonic(), self._cpu()
        wrk.each(self._port, requests, core=core)
        time.sleep(AFTERWARDS)
        spent = self._cpu() - before - self._idle * (time.monotonic() - began)
        return spent / count * 1e6

    def _cpu(self) -> float:
        return time.clock_gettime(~self._pid << 3 | 2)  # what clock_getcpuclockid(3) makes of it

    def _heard(self) -> Any:
        assert self._maker.stdout is not None
        line = self._maker.stdout.readline()
        if not line:
            raise wrk.LoadFailed("a service could not be started, or filled")
        return json.loads(line)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Its files, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="identity-against-") as name:
        archive = Path(name, "archive.tar")
        with archive.open("wb") as out:
            subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=out, check=True)
        checkout = Path(name, "checkout")
        checkout.mkdir()
        subprocess.run(["tar", "-xf", str(archive), "-C", str(checkout)], check=True)
        yield checkout


def compare(commit: str, dialect: str, options: argparse.Namespace) -> Iterator[str]:
    """A row of the table for each job that both have."""
    several = len(os.sched_getaffinity(0)) > 1
    server, load = (SERVER_CORE, LOAD_CORE) if several else (None, None)
    with ExitStack() as stack:
        sides = []
        for checkout in (stack.enter_context(checked_out(commit)), ROOT):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sides.append(Side(checkout, folder, dialect, server))
            stack.callback(sides[-1].stop)
        before, now = sides
        time.sleep(AFTERWARDS)  # what follows a start
        then, later = (side.rest() * 1e6 for side in sides)
        yield f"| a second without requests, {dialect} | {then:.0f} | {later:.0f} | | |"
        for job in now.jobs:
            if job not in before.jobs or options.only not in job:
                continue
            for side in sides:
                side.cost(job, options.requests, load)  # once without being counted
            costs: dict[Side, list[float]] = {before: [], now: []}
            for number in range(options.rounds):
                for side in sides if number % 2 == 0 else reversed(sides):
                    costs[side].append(side.cost(job, options.requests, load))
            pairs = zip(costs[now], costs[before], strict=True)
            ratio = statistics.median(later / earlier for later, earlier in pairs)
            least = min(costs[now]) / min(costs[before])
            then, later = (statistics.median(costs[side]) for side in sides)
            yield f"| {job}, {dialect} | {then:.0f} | {later:.0f} | {ratio:.2f} | {least:.2f} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-against", description=__doc__)
    parser.add_argument("commit", help="what it is compared with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=3_000, help="of each round")
    parser.add_argument("--only", default="", help="only jobs whose name holds this")
    parser.add_argument("--on", default="sqlite,postgresql", help="the databases")
    options = parser.parse_args()
    if problem := wrk.missing():
        print(problem, file=sys.stderr)
        return 2
    print(f"| job | µs at {options.commit} | µs now | × | × of the least |")
    print("|---|---|---|---|---|", flush=True)
    for dialect in options.on.split(","):
        for row in compare(options.commit, dialect, options):
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
