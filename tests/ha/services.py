"""Two processes of the service on machines of their own: one speaks to HAProxy beside it, the other
to an address that names all three hosts."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.databases import ROOT, environment, wait_until
from tests.ha.network import Machine
from tests.serving import ADMIN_PASSWORD

PAGE = ROOT / "docs" / "haproxy.md"
WAYS = ("HAProxy", "several hosts")
PORT = 8000
ISSUER = "http://identity.test"


def haproxy_configuration(addresses: Iterable[str]) -> str:
    """That of docs/haproxy.md, with these servers in place of its own."""
    text = re.findall(r"^```haproxy\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    kept = [line for line in text.splitlines() if not line.strip().startswith("server db")]
    servers = [
        f"    server db{number} {address}:5432 check port 8008"
        for number, address in enumerate(addresses, 1)
    ]
    return "\n".join([*kept, *servers, ""])


class Service:
    """`way` is how it finds the primary."""

    def __init__(self, way: str, machine: Machine, database_url: str, folder: Path) -> None:
        self.way = way
        self.machine = machine
        self.base = f"http://{machine.watched}:{PORT}"
        self.log = folder / f"{machine.name}.log"
        self._folder = folder
        self._environment = environment(
            DATABASE_URL=database_url, KEYS_DIR=str(folder / "keys"), ISSUER=ISSUER,
            BOOTSTRAP_ADMIN_PASSWORD=ADMIN_PASSWORD, BCRYPT_ROUNDS="4", TEST_WEAK_HASHING="1",
            LOG_LEVEL="warning", LOG_FORMAT="json",
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = self.machine.start(
                self._command("serve", "--host", "0.0.0.0", "--port", str(PORT)),
                env=self._environment, cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self.ready, 60, lambda: self.log.read_text(errors="replace"))

    def command(self, *words: str) -> str:
        """What `identity …` prints on this machine."""
        process = self.machine.start(
            self._command(*words), env=self._environment, cwd=self._folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, error = process.communicate(timeout=60)
        if not out and process.returncode:
            raise RuntimeError(error.decode(errors="replace"))
        return str(out.decode())

    def doctor(self) -> dict[str, str]:
        """What it finds, by what it has looked at."""
        found = json.loads(self.command("doctor", "--offline", "--json"))
        return {each["what"]: each["words"] for each in found}

    def metric(self, name: str) -> float:
        """As `/metrics` writes it, with its labels; 0 where it is not there."""
        found = re.search(rf"^identity_{re.escape(name)} (\S+)$", self._get("/metrics"), re.M)
        return float(found[1]) if found else 0.0

    def ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(self.log.read_text(errors="replace"))
        try:
            return bool(self._get("/readyz"))
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(15)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "identity", *words]

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.base}{path}", timeout=5) as answer:
            return str(answer.read().decode())


class Haproxy:
    """Beside a service, on its machine."""

    def __init__(self, machine: Machine, addresses: Iterable[str], folder: Path) -> None:
        path = folder / f"haproxy-{machine.name}.cfg"
        path.write_text(haproxy_configuration(addresses))
        with (folder / f"haproxy-{machine.name}.log").open("ab") as log:
            self._process: Any = machine.start(
                ["haproxy", "-f", str(path)], stdout=log, stderr=log, cwd=folder
            )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(15)
