"""What a command costs before it does anything: processor time, beside importing SQLModel alone,
for which none that looks into the database can cost less."""

import argparse
import os
import statistics
import sys

from bench.prepared import prepared
from bench.report import Figure
from bench.world import Size

_SQLMODEL = ("-c", "import sqlmodel")
_COMMANDS = {
    "--help": ("-m", "identity", "--help"),
    "users --help": ("-m", "identity", "users", "--help"),
    "users list": ("-m", "identity", "users", "list", "--limit", "1"),
    "doctor": ("-m", "identity", "doctor", "--offline"),
    "audit verify": ("-m", "identity", "audit", "verify"),
}


def commands(options: argparse.Namespace) -> list[Figure]:
    """In turn with importing SQLModel alone, so that both meet the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    alone: list[float] = []
    with prepared("sqlite", Size()) as (folder, url, _, port):
        keys = str(folder / "keys")
        env = os.environ | {
            "IDENTITY_DATABASE_URL": url, "IDENTITY_KEYS_DIR": keys, "IDENTITY_PORT": str(port),
        }  # fmt: skip
        for _ in range(options.rounds + 1):
            alone.append(_processor_time(_SQLMODEL, env))
            for name, args in _COMMANDS.items():
                seconds[name].append(_processor_time(args, env))
    figures = []
    for name, spent in seconds.items():
        if "--help" in name:
            value = statistics.median(spent[1:])
            figures.append(Figure(f"identity {name}, processor time", value, "s", at_most=0.5))
        else:
            ratios = [one / beside for one, beside in zip(spent[1:], alone[1:], strict=True)]
            what = f"identity {name}, processor time, × importing sqlmodel alone"
            figures.append(Figure(what, statistics.median(ratios), "×"))
    return figures


def _processor_time(args: tuple[str, ...], env: dict[str, str]) -> float:
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    command = [sys.executable, *args]
    pid = os.posix_spawn(sys.executable, command, env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):  # 1: `doctor` found something
        raise RuntimeError(f"{command} failed")
    return usage.ru_utime + usage.ru_stime
