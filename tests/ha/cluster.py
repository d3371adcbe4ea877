"""Three machines with etcd, Patroni and PostgreSQL, as docs/high-availability.md sets them up."""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.databases import wait_until
from tests.ha.network import Machine

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
LOOP_WAIT = 2
"""Seconds between two looks of Patroni's."""


def described(machine: Machine, machines: list[Machine], ttl: int, passwords: dict[str, str],
              folder: Path) -> dict[str, Any]:  # fmt: skip
    """What /etc/patroni/config.yml holds; JSON is YAML."""
    return {
        "scope": "identity",
        "name": machine.name,
        "restapi": {
            "listen": "0.0.0.0:8008",
            "connect_address": f"{machine.address}:8008",
        },
        "etcd3": {"hosts": [f"{each.address}:2379" for each in machines]},
        "bootstrap": {
            "dcs": {
                "ttl": ttl,
                "loop_wait": LOOP_WAIT,
                "retry_timeout": max(3, (ttl - LOOP_WAIT) // 2 - 1),
                "maximum_lag_on_failover": 1048576,
                "synchronous_mode": True,
                "postgresql": {
                    "use_pg_rewind": True,
                    "use_slots": True,
                    "parameters": {"wal_log_hints": "on", "max_connections": 100},
                },
            },
            "initdb": [{"encoding": "UTF8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": "0.0.0.0:5432",
            "connect_address": f"{machine.address}:5432",
            "data_dir": str(folder / "data"),
            "bin_dir": str(BINARIES),
            "pgpass": str(folder / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": passwords["postgres"]},
                "replication": {"username": "replicator", "password": passwords["replicator"]},
            },
            "parameters": {
                "unix_socket_directories": str(folder),
                "dynamic_shared_memory_type": "mmap",  # none is left behind by a `kill -9`
            },
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 scram-sha-256",
                "host all all 10.77.0.0/16 scram-sha-256",
                "host replication replicator 10.77.0.0/24 scram-sha-256",
            ],
        },
    }


class Node:
    """One of the three. `dead` and `frozen` are all of its programs at once, as a machine is."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.name = machine.name
        self.folder = folder / machine.name
        self.folder.mkdir(mode=0o700)
        user = pwd.getpwnam(USER)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self, machines: list[Machine], ttl: int, passwords: dict[str, str]) -> None:
        config = described(self.machine, machines, ttl, passwords, self.folder)
        path = self.folder / "patroni.yml"
        path.write_text(json.dumps(config, indent=1))
        shutil.chown(path, USER, USER)
        path.chmod(0o600)
        self._etcd = [
            "etcd", "--name", self.name, "--data-dir", str(self.folder / "etcd"),
            "--listen-client-urls", "http://0.0.0.0:2379",
            "--advertise-client-urls", f"http://{self.machine.address}:2379",
            "--listen-peer-urls", f"http://{self.machine.address}:2380",
            "--initial-advertise-peer-urls", f"http://{self.machine.address}:2380",
            "--initial-cluster",
            ",".join(f"{each.name}=http://{each.address}:2380" for each in machines),
            "--initial-cluster-state", "new", "--log-level", "error",
        ]  # fmt: skip
        self._patroni = ["patroni", str(path)]

    def start(self) -> None:
        for name, command in (("etcd", self._etcd), ("patroni", self._patroni)):
            if name not in self._running:
                with (self.folder / f"{name}.log").open("ab") as log:
                    self._running[name] = self.machine.start(
                        command, user=USER, stdout=log, stderr=log, cwd=self.folder
                    )

    def kill(self) -> None:
        """Everything at once, and PostgreSQL before it can say good-bye."""
        self.signal(signal.SIGKILL)
        for process in self._running.values():
            process.wait(15)
        self._running.clear()
        wait_until(lambda: not list(self.processes()), 15, lambda: f"{self.name} lives on")

    def kill_patroni(self) -> None:
        """PostgreSQL has nobody who would stop it."""
        patroni = self._running.pop("patroni")
        patroni.kill()
        patroni.wait(15)

    def signal(self, number: signal.Signals, only: str = "") -> None:
        """To all its processes, the oldest first, or to those whose command line has `only`."""
        for pid in sorted(self.processes(only)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def processes(self, only: str = "") -> Iterator[int]:
        """Those that work in this machine's folder: etcd, Patroni, and PostgreSQL's."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdigit():
                    continue
                place = (entry / "cwd").readlink()
                if not place.is_relative_to(self.folder):
                    continue
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and only.encode() in (entry / "cmdline").read_bytes():
                    yield int(entry.name)

    def wipe(self) -> None:
        """Its data is copied anew from the primary at the next start."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def ask(self, path: str, body: Any = None, method: str = "GET") -> tuple[int, Any]:
        """Patroni's status and answer; status 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.machine.watched}:8008{path}", data, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30 if data else 2) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text[:1] == b"{" else text.decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)


class Cluster:
    def __init__(self, folder: Path, machines: list[Machine], ttl: int) -> None:
        self.ttl = ttl
        names = ("postgres", "replicator", "identity")
        self._passwords = {name: secrets.token_hex(16) for name in names}
        self.nodes = [Node(machine, folder) for machine in machines]
        for node in self.nodes:
            node.prepare(machines, ttl, self._passwords)
            node.start()
        wait_until(lambda: self.primary() is not None, 90, lambda: "no primary was chosen")
        password = self._passwords["identity"]
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE identity LOGIN PASSWORD '{password}'")
            connection.execute("CREATE DATABASE identity OWNER identity")
        self.synchronous = True
        self.heal()

    def url(self, *places: str) -> str:
        """For the service; `places` are hosts with ports."""
        return f"postgresql://identity:{self._passwords['identity']}@{','.join(places)}/identity"

    def connect(self) -> Any:
        primary = self.primary()
        assert primary is not None
        return psycopg.connect(
            host=primary.machine.watched, user="postgres", password=self._passwords["postgres"],
            dbname="postgres", autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def primary(self) -> Node | None:
        return next((node for node in self.nodes if node.ask("/primary")[0] == 200), None)

    def members(self) -> dict[str, dict[str, Any]]:
        for node in self.nodes:
            status, answer = node.ask("/cluster")
            if status == 200:
                return {member["name"]: member for member in answer["members"]}
        return {}

    def set_synchronous(self, wanted: bool) -> None:
        primary = self.primary()
        assert primary is not None
        primary.ask("/config", {"synchronous_mode": wanted}, "PATCH")
        self.synchronous = wanted
        self.heal()

    def healthy(self) -> bool:
        """Whether all three stream, and the primary waits for one, or for none."""
        members = self.members()
        roles = sorted(str(member["role"]) for member in members.values())
        wanted = ["leader", "replica", "sync_standby" if self.synchronous else "replica"]
        lagging = any(member.get("lag", 0) != 0 for member in members.values())
        timelines = {member.get("timeline") for member in members.values()}
        if roles != wanted or lagging or len(timelines) > 1:
            return False
        if any(member["state"] not in ("running", "streaming") for member in members.values()):
            return False
        with suppress(psycopg.Error, AssertionError), self.connect() as connection:
            (row,) = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync')"
                " FROM pg_stat_replication WHERE state = 'streaming'"
            ).fetchall()
            return tuple(row) == (2, int(self.synchronous))
        return False

    def heal(self) -> None:
        """Until all three are well again; who does not come back by itself is copied anew."""
        for node in self.nodes:
            node.start()
        deadline = time.monotonic() + 60
        while not self.healthy():
            time.sleep(0.2)
            if time.monotonic() > deadline:
                self._rebuild()
                deadline = time.monotonic() + 120

    def _rebuild(self) -> None:
        members = self.members()
        for node in self.nodes:
            member = members.get(node.name, {})
            if member.get("role") != "leader" and member.get("lag") != 0:
                node.kill()
                node.wipe()
                node.start()

    def stop(self) -> None:
        for node in self.nodes:
            node.signal(signal.SIGCONT)
            node.kill()
