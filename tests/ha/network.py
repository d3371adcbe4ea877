"""Machines in a network of their own: each is a network namespace, and can be cut off from others.

Two bridges are the two sides that a cut can have. A second network leads from every machine to this
process alone, so that whoever is cut off can still be watched.
"""

import ctypes
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = Path("/run/netns")
PREFIX = "identity-ha-"
SIDES = ("whole", "cut")
_CLONE_NEWNET = 0x40000000


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


class Machine:
    """`address` is what other machines call it, `watched` what this process does."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self.watched = f"10.77.1.{number}"
        self._space = f"{PREFIX}{os.getpid()}-{name}"
        run("ip", "netns", "add", self._space)
        self._wire("eth0", f"e-{name}", SIDES[0], self.address)
        self._wire("eth1", f"w-{name}", "watching", self.watched)
        run(*self._inside, "ip", "link", "set", "lo", "up")

    def move(self, side: str) -> None:
        """From now on it reaches only machines of that side. Connections stay open, as they do
        where a switch fails."""
        run("ip", "link", "set", f"e-{self.name}", "master", side)

    def start(self, command: Sequence[str], *, user: str | None = None, **options: Any) -> Any:
        """`command` on this machine, a leader of its own group."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return subprocess.Popen(
            [*self._inside, *as_user, *command],
            stdin=subprocess.DEVNULL, start_new_session=True, **options,
        )  # fmt: skip

    def remove(self) -> None:
        """Its wires first: the kernel takes them away with their network whenever it comes to it,
        and another machine of this name is to have some."""
        for outside in (f"e-{self.name}", f"w-{self.name}"):
            with suppress(subprocess.CalledProcessError):
                run("ip", "link", "delete", outside)
        with suppress(subprocess.CalledProcessError):
            run("ip", "netns", "delete", self._space)

    @property
    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self._space]

    def _wire(self, inside: str, outside: str, bridge: str, address: str) -> None:
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside,
            "netns", self._space)  # fmt: skip
        run("ip", "link", "set", outside, "master", bridge, "up")
        run(*self._inside, "ip", "address", "add", f"{address}/24", "dev", inside)
        run(*self._inside, "ip", "link", "set", inside, "up")


def enter() -> None:
    """Move this process into a network of its own, in which the bridges are: they end with it.
    OSError without the right to. Call it before any thread is started."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _forget_those_left_behind()
    run("ip", "link", "set", "lo", "up")
    for bridge in (*SIDES, "watching"):
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
    run("ip", "address", "add", "10.77.1.254/24", "dev", "watching")


def _forget_those_left_behind() -> None:
    for name in NAMES.glob(f"{PREFIX}*-*"):
        if not Path(f"/proc/{name.name.split('-')[2]}").exists():
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "delete", name.name)
