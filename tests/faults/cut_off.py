"""The network between service and PostgreSQL drops every packet for a while, as where a switch
fails: nothing is closed, nothing is acknowledged, nobody is told."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.databases import Postgres, migrate
from tests.faults.loading import under_load
from tests.faults.postgresql import AFTERWARDS, CONNECTIONS, Mortal
from tests.faults.replicas import Replicas
from tests.trials.row import Outcome, Place

HERE, THERE = "10.78.0.1", "10.78.0.2"


class Wire:
    """A network namespace with one wire to it, over a bridge: out of the bridge, whatever is sent
    either way is lost."""

    def __init__(self, name: str = "idf") -> None:
        self.space = f"{name}{os.getpid() % 100_000}"
        self._bridge, self._end = f"{self.space}b", f"{self.space}e"

    @property
    def inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.space]

    def lay(self, address: bool = True) -> None:
        """Without `address` it only shows that it could be."""
        _ip("netns", "add", self.space)
        _ip("link", "add", self._bridge, "type", "bridge")
        if address:
            _ip("address", "add", f"{HERE}/30", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        _ip("link", "add", self._end, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        _ip("-n", self.space, "address", "add", f"{THERE}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.space, "link", "set", device, "up")
        self.join()

    def join(self) -> None:
        _ip("link", "set", self._end, "master", self._bridge, "up")

    def cut(self) -> None:
        _ip("link", "set", self._end, "nomaster")

    def remove(self) -> None:
        for command in (("netns", "delete", self.space), ("link", "delete", self._bridge)):
            with suppress(subprocess.CalledProcessError):
                _ip(*command)


class Far(Postgres):
    """A server at the other end of the wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(
            host=THERE,
            options=["synchronous_commit=on", f"max_connections={CONNECTIONS}"],
            inside=wire.inside,
        )

    def _initialise(self) -> None:
        super()._initialise()
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {HERE}/32 password\n")


def lacking() -> str:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("setpriv"):
        return "it makes a network of its own, and needs to be root and ip for that"
    wire = Wire("idt")
    try:
        wire.lay(address=False)
    except subprocess.CalledProcessError as error:
        return f"it may not make a network here: {error.stderr.strip()}"
    finally:
        wire.remove()
    return ""


@contextmanager
def at_the_end_of_a_wire(database: str, place: Place) -> Iterator[tuple[Wire, Mortal]]:
    wire = Wire()
    try:
        wire.lay()
        postgres = Far(wire)
        try:
            url = postgres.create()
            migrate(url)
            replicas = Replicas(url, place.folder, 1)
            try:
                yield wire, Mortal(postgres, replicas, url)
            finally:
                replicas.close()
        finally:
            postgres.remove()
    finally:
        wire.remove()


def cut_off(stage: tuple[Wire, Mortal], dice: random.Random) -> Outcome:
    wire, mortal = stage

    def happen() -> None:
        wire.cut()
        time.sleep(dice.uniform(0.5, 12))
        wire.join()

    seen = under_load(mortal.replicas, dice, happen, AFTERWARDS)
    mortal.replicas.db.engine.dispose()
    return seen


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
