"""`make ha`: what becomes of the service when a real cluster loses its primary.

docs/high-availability.md says what is measured and how to read it."""

import argparse
import asyncio
import importlib.metadata
import os
import pwd
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

from tests.folders import MEMORY
from tests.ha import network, records
from tests.ha.cluster import BINARIES, LOOP_WAIT, USER, Cluster
from tests.ha.load import Load
from tests.ha.network import Machine
from tests.ha.rows import ROWS
from tests.ha.services import WAYS, Haproxy, Service
from tests.ha.trial import conduct
from tests.trials import lines

PROGRAMS = ("patroni", "etcd", "haproxy", "ip", "setpriv")
PACKAGES = "postgresql-15 patroni etcd-server haproxy iproute2"


def missing() -> str:
    """Why this machine cannot do it; empty where it can."""
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if not (BINARIES / "postgres").exists():
        lacking.append(str(BINARIES / "postgres"))
    if lacking:
        return f"{', '.join(lacking)} not found (Debian: apt-get install {PACKAGES})"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return f"there is no user {USER}, as whom PostgreSQL would run"
    if os.geteuid() != 0:
        return "it makes networks of its own, and needs to be root for that"
    try:
        network.enter()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"it may not make networks of its own here: {error}"
    return ""


def versions() -> dict[str, str]:
    commands = {
        "PostgreSQL": [str(BINARIES / "postgres"), "--version"],
        "Patroni": ["patroni", "--version"],
        "etcd": ["etcd", "--version"],
        "HAProxy": ["haproxy", "-v"],
    }
    found = {}
    for name, command in commands.items():
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        match = re.search(r"\d+\.\d+[.\d]*", said)
        found[name] = match[0] if match else "?"
    return found | {"psycopg": importlib.metadata.version("psycopg")}


@contextmanager
def scene(ttl: int) -> Iterator[tuple[Cluster, list[Service]]]:
    """The cluster, and the two services, all on machines of their own."""
    with ExitStack() as ends:
        place = MEMORY if MEMORY.is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="identity-ha-", dir=place))
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        names = ("a", "b", "c", "one", "two")
        machines = [Machine(name, number) for number, name in enumerate(names, 1)]
        for machine in machines:
            ends.callback(machine.remove)
        nodes, (one, two) = machines[:3], machines[3:]
        cluster = Cluster(folder, nodes, ttl)
        ends.callback(cluster.stop)
        addresses = [node.address for node in nodes]
        ends.callback(Haproxy(one, addresses, folder).stop)
        hosts = [f"{address}:5432" for address in addresses]
        services = [
            Service(WAYS[0], one, cluster.url("127.0.0.1:5432"), folder),
            Service(WAYS[1], two, cluster.url(*hosts), folder),
        ]
        services[1].command("migrate")
        for service in services:
            service.start()
            ends.callback(service.stop)
        yield cluster, services


async def trials(options: argparse.Namespace, wanted: list[tuple[str, int]]) -> None:
    """On one cluster, as long as it keeps what it has acknowledged: one that took back its old
    primary may find no other afterwards."""
    left = deque(wanted)
    while left:
        with scene(options.ttl) as (cluster, services):
            await _on_one(options, left, cluster, services)


async def _on_one(
    options: argparse.Namespace,
    left: deque[tuple[str, int]],
    cluster: Cluster,
    services: list[Service],
) -> None:
    rows = {row.name: row for row in ROWS}
    about = {"date": f"{date.today():%d %B %Y}", "loop_wait": LOOP_WAIT, "versions": versions()}
    load = Load(services, random.Random())
    await load.prepare()
    try:
        whole = True
        while left and whole:
            name, number = left.popleft()
            seed = options.seed + number
            trial = about | await conduct(cluster, services, load, rows[name], number, seed)
            lines.append(options.file, trial)
            broken = "; ".join(records.violations(trial)) or "kept"
            print(
                f"{name} {number}: new primary after {trial['promoted_after']} s, "
                f"well again {trial['recovery']}, {broken}",
                flush=True,
            )
            whole = not trial.get("led_again")
    finally:
        load.close()
        if options.keep_logs:
            for log in cluster.nodes[0].folder.parent.rglob("*.log"):
                target = Path(options.keep_logs) / f"{log.parent.name}-{log.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, target)


def main() -> int:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="make ha", description=__doc__)
    parser.add_argument("--row", default="", help=f"only this: {', '.join(names)}")
    parser.add_argument("--count", type=int, default=20, help="trials of each row")
    parser.add_argument("--ttl", type=int, default=20, help="Patroni's, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", type=Path, default=records.FILE)
    parser.add_argument("--keep-logs", default="", help="a folder for them")
    options = parser.parse_args()
    chosen = [name for name in names if not options.row or name.startswith(options.row)]
    if not chosen:
        parser.error(f"no row is called {options.row}")
    wanted = records.remaining(lines.read(options.file), chosen, options.count)
    if wanted:
        if problem := missing():
            print(f"make ha: skipped: {problem}")
            return 0
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        asyncio.run(trials(options, wanted))
    return report(options.file)


def report(file: Path) -> int:
    """Prints the table and, of the file that belongs to the page, writes it there. 1 where a
    promise was broken."""
    noted = lines.read(file)
    text = records.measured(noted, [(row.name, row.promise) for row in ROWS])
    print(text)
    if file == records.FILE:
        lines.write(records.PAGE, text)
    return 1 if any(map(records.violations, noted)) else 0


if __name__ == "__main__":
    sys.exit(main())
