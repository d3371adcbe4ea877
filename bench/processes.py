"""Servers under load: started as a user starts them, pinned, measured from outside, stopped."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.wrk import pinned
from tests.databases import ROOT, free_port

ADMIN_PASSWORD = secrets.token_urlsafe(18)


class Process:
    """A server on `port`; `rss` in MB over it and its children, `cold` seconds to first 200."""

    def __init__(
        self, command: list[str], port: int, probe: str, core: int | None, folder: Path, **env: str
    ) -> None:
        self.port = port
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IDENTITY_")}
        # Whoever installs it has its bytecode; without, each start would compile it anew.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {"PYTHONPATH": str(ROOT), **env}
        self.log = folder / f"{port}.log"
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                pinned(core, command), cwd=folder, env=environment, stdout=log, stderr=log
            )
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text(errors="replace"))
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.005)
            if time.perf_counter() - began > 60:
                self.stop()
                raise RuntimeError(self.log.read_text(errors="replace"))
        self.cold = time.perf_counter() - began

    @property
    def rss(self) -> list[float]:
        """Resident memory of each process that serves, in MB, largest first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pids = [self.process.pid, *map(int, children.split())]
        return sorted((_rss(pid) for pid in pids), reverse=True)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def importing(core: int | None) -> float:
    """Seconds that Python takes to start and import the packages that every service of this kind
    needs: no cold start is quicker, whatever the machine."""
    command = [sys.executable, "-c", "import fastapi, sqlmodel, uvicorn, uvloop, jose.jwk, bcrypt"]
    began = time.perf_counter()
    subprocess.run(pinned(core, command), check=True)
    return time.perf_counter() - began


@contextmanager
def floor(folder: Path, core: int | None) -> Iterator[Process]:
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "bench.floor:app", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    process = Process(command, port, "/", core, folder)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def service(
    folder: Path, database_url: str, core: int | None, *, workers: int = 1, **settings: str
) -> Iterator[Process]:
    """`identity serve`, all features on, logging to a file as an operator would have it."""
    port = int(settings.pop("PORT", "0")) or free_port()
    command = [
        sys.executable, "-m", "identity", "serve", "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip
    environment = {
        "IDENTITY_DATABASE_URL": database_url,
        "IDENTITY_KEYS_DIR": str(folder / "keys"),
        "IDENTITY_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "IDENTITY_LOG_LEVEL": "info",
        **{f"IDENTITY_{name}": value for name, value in settings.items()},
    }
    process = Process(command, port, "/healthz", core, folder, **environment)
    try:
        yield process
    finally:
        process.stop()
