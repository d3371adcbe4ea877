"""`make bench-peers`: the jobs that others have too, on the same core in the same run.

What is compared is installed from its registry into a folder of its own, under build/peers.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import processes, wrk
from bench.jobs import JOBS
from bench.measure import FLOOR_POST
from bench.prepared import LOAD_CORE, SERVER_CORE, prepared
from bench.report import PAGE
from bench.world import BASIC, CLIENT, PASSWORD, SECRET, USERNAME, Size
from bench.wrk import request
from tests.databases import ROOT, free_port

PROVIDER = "oidc-provider@9"
LIBRARIES = ("fastapi-users[sqlalchemy]==15.*", "aiosqlite")
FOLDER = ROOT / "build" / "peers"
HERE = Path(__file__).parent
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

ISSUE = request(
    "POST", "/token", {"Authorization": BASIC}, "grant_type=client_credentials&scope=introspect"
)


@dataclass
class Peer:
    """A running server and what it is asked, by job."""

    name: str
    port: int
    jobs: dict[str, Sequence[bytes]]


def install() -> Path:
    """The Python of a virtual environment with the Python peers; npm's beside it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    python = FOLDER / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
    requirements = ROOT / "requirements.lock"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", requirements], check=True)
    subprocess.run([*pip, "python-multipart", *LIBRARIES], check=True)
    shutil.copy(HERE / "provider.mjs", FOLDER)
    npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", FOLDER, PROVIDER]
    subprocess.run(npm, check=True)
    return python


@contextlib.contextmanager
def started(
    command: list[str], port: int, probe: str, folder: Path, **env: str
) -> Iterator[processes.Process]:
    process = processes.Process(command, port, probe, SERVER_CORE, folder, **env)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def provider(folder: Path, format_: str) -> Iterator[Peer]:
    port = free_port()
    env = {"PORT": str(port), "CLIENT": CLIENT, "SECRET": SECRET, "FORMAT": format_}
    command = ["node", str(FOLDER / "provider.mjs")]
    with started(command, port, "/jwks", folder, **env):
        if format_ == "jwt":
            jobs = {"issue": [ISSUE], "key set": [request("GET", "/jwks")]}
        else:
            tokens = [_post(port, ISSUE)["access_token"] for _ in range(500)]
            jobs = {
                "introspect": [
                    request("POST", "/token/introspection", {"Authorization": BASIC}, f"token={t}")
                    for t in tokens
                ]
            }
        yield Peer(f"oidc-provider ({format_})", port, jobs)


@contextlib.contextmanager
def by_hand(folder: Path, python: Path, module: str, name: str, login: str) -> Iterator[Peer]:
    """A FastAPI server of `bench/peers`, and its user's own page."""
    port = free_port()
    env = {
        "DATABASE_URL": f"sqlite:///{folder / module}.db",
        "USERNAME": USERNAME,
        "PASSWORD": PASSWORD,
    }
    command = [
        str(python), "-m", "uvicorn", f"bench.peers.{module}:app", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    with started(command, port, "/docs", folder, **env):
        username = USERNAME if login == "/token" else f"{USERNAME}@example.org"
        form = urllib.parse.urlencode({"username": username, "password": PASSWORD})
        enter = request("POST", login, {}, form)
        token = _post(port, enter)["access_token"]
        me = request("GET", "/users/me", {"Authorization": f"Bearer {token}"})
        yield Peer(name, port, {"who am I": [me], "password": [enter]})


def _post(port: int, raw: bytes) -> dict[str, str]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{first.split()[1]}", body, headers, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        answered: dict[str, str] = json.load(answer)
    return answered


def compare(options: argparse.Namespace, python: Path) -> dict[str, dict[str, float]]:
    """Median requests/s by job and server."""
    rates: dict[str, dict[str, list[float]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="identity-peers-") as name,
        prepared("sqlite", Size()) as (folder, url, world, port),
        processes.service(folder, url, SERVER_CORE, PORT=str(port)),
        processes.floor(folder, SERVER_CORE) as floor,
        provider(Path(name), "jwt") as issuing,
        provider(Path(name), "opaque") as opaque,
        by_hand(Path(name), python, "tutorial", "by hand (FastAPI's tutorial)", "/token") as hand,
        by_hand(Path(name), python, "accounts", "fastapi-users", "/auth/login") as library,
    ):
        jobs = {job.name: job.requests for job in JOBS}
        names = [USERNAME, *world.who_log_in("login", 3)]  # two of one account may wait
        login = f"grant_type=password&password={PASSWORD}&username="
        ours = Peer(
            "identity",
            port,
            {
                "introspect": jobs["introspect, 2,000 known tokens"](world, 1),
                "who am I": jobs["/users/me"](world, 1),
                "issue": [ISSUE],
                "key set": jobs["JWKS"](world, 1),
                "password": [request("POST", "/token", {}, login + name) for name in names],
            },
        )
        bare = Peer("bare POST", floor.port, {"floor": FLOOR_POST})
        peers = (bare, ours, issuing, opaque, hand, library)
        _every(peers, lambda peer, _, requests: _load(peer, requests, 3))  # JIT, caches
        for _ in range(options.rounds):

            def note(peer: Peer, job: str, requests: Sequence[bytes]) -> None:
                rate = _load(peer, requests, options.seconds)
                rates.setdefault(job, {}).setdefault(peer.name, []).append(rate)

            _every(peers, note)
    return {
        job: {name: statistics.median(seen) for name, seen in by_name.items()}
        for job, by_name in rates.items()
    }


def _every(peers: Sequence[Peer], do: Callable[[Peer, str, Sequence[bytes]], object]) -> None:
    for peer in peers:
        for job, requests in peer.jobs.items():
            do(peer, job, requests)


def _load(peer: Peer, requests: Sequence[bytes], seconds: float) -> float:
    connections = 4 if b"password=" in requests[0] else wrk.CONNECTIONS
    return wrk.run(
        peer.port, requests, seconds=seconds, core=LOAD_CORE, connections=connections
    ).rate


def table(medians: dict[str, dict[str, float]]) -> list[str]:
    floor = medians.pop("floor")["bare POST"]
    rows = ["| job | server | requests/s | × bare POST | ours × theirs |", "|---|---|---|---|---|"]
    for job, by_name in medians.items():
        ours = by_name["identity"]
        for name, rate in sorted(by_name.items(), key=lambda item: -item[1]):
            times = "" if name == "identity" else f"{ours / rate:.1f}"
            rows.append(f"| {job} | {name} | {rate:,.1f} | {rate / floor:.3f} | {times} |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    problem = wrk.missing() or (
        None if shutil.which("node") and shutil.which("npm") else "node and npm are missing"
    )
    if problem or len(os.sched_getaffinity(0)) < 2:
        print(problem or "needs two cores", file=sys.stderr)
        return 2
    rows = table(compare(options, install()))
    print("\n".join(rows))
    if not options.no_report:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
