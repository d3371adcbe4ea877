"""SQLite's file cannot be written, or is another one all of a sudden."""

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.loading import under_load
from tests.faults.replicas import BROKEN, Replicas
from tests.faults.stages import started
from tests.trials.row import Outcome, Place

AFTERWARDS = 2.0
SIZE = "12m"
ENDED = 15.0
"""Seconds in which a process that has lost its file ends."""


@dataclass
class OnFile:
    replicas: Replicas
    path: Path


@contextmanager
def on_file(database: str, place: Place) -> Iterator[OnFile]:
    with started("sqlite", place, 1) as replicas:
        yield OnFile(replicas, place.folder / "identity.db")


def no_mounts() -> str:
    if os.geteuid() != 0 or not shutil.which("mount"):
        return "it mounts a small file system, and needs to be root for that"
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    return "" if done.returncode == 0 else "it may not mount anything here"


@contextmanager
def on_a_small_disk(database: str, place: Place) -> Iterator[OnFile]:
    """The database alone is on it: log and keys are elsewhere."""
    disk = place.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)]
    subprocess.run(mount, check=True)
    try:
        fresh = place.templates.fresh("sqlite", place.folder).removeprefix("sqlite:///")
        path = disk / "identity.db"
        shutil.move(fresh, path)
        replicas = Replicas(f"sqlite:///{path}", place.folder, 1)
        try:
            yield OnFile(replicas, path)
        finally:
            replicas.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def full(stage: OnFile, dice: random.Random) -> Outcome:
    ballast = stage.path.with_name("ballast")

    def happen() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        time.sleep(dice.uniform(0.3, 2))
        ballast.unlink()

    seen = under_load(stage.replicas, dice, happen, AFTERWARDS, reads_go_on=True)
    seen.see(whole(stage.path), "the file is spoilt")
    return seen


def locked(stage: OnFile, dice: random.Random) -> Outcome:
    """Another process holds the lock that writers take, for longer than they wait for it."""

    def happen() -> None:
        with closing(sqlite3.connect(stage.path, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(dice.uniform(1, 7))
            other.execute("ROLLBACK")

    seen = under_load(stage.replicas, dice, happen, AFTERWARDS, reads_go_on=True)
    seen.see(whole(stage.path), "the file is spoilt")
    return seen


# --- Another file ------------------------------------------------------------------------------


def copied(path: Path) -> Path:
    """A whole copy beside it, as `identity backup` makes one."""
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=WAL")
    return copy


def replace(path: Path) -> None:
    os.replace(path.with_name("copy.db"), path)


def rename_and_copy(path: Path) -> None:
    path.rename(path.with_name("old.db"))
    path.write_bytes(path.with_name("copy.db").read_bytes())


def delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def delete_index(path: Path) -> None:
    path.with_name(path.name + "-shm").unlink()


WAYS: list[Callable[[Path], None]] = [replace, rename_and_copy, delete_log, delete_index]


def another_file(stage: OnFile, dice: random.Random) -> Outcome:
    """A restored copy in its place, or its log deleted: nobody is told anything any more but 503,
    the process ends with 1, and its successor serves the file that is there."""
    seen, ours, way = Outcome(), stage.replicas, dice.choice(WAYS)
    restored = way in (replace, rename_and_copy)
    with ours.lines() as (line,):
        before = line.log_in(ours.user().username)
        copied(stage.path)
        after = line.log_in(ours.user().username)
        line.revoke(before["refresh_token"])
        ours.db.engine.dispose()  # so that this process has no part in the old file
        began = time.monotonic()
        way(stage.path)
        while time.monotonic() - began < ENDED:
            try:
                answer = line.post("/introspect", token=before["access_token"])
            except BROKEN:
                break
            claimed = answer.status == 200 and answer.document["active"]
            seen.see(not claimed, "a revoked token was called active")
            seen.see(answer.status in (200, 503), f"an answer {answer.status}")
            time.sleep(0.01)
    code = ours.servers[0].process.wait(ENDED)
    seen.see(code == 1, f"the process ended with {code}")
    ours.servers[0] = ours.start()
    seen.recovered(time.monotonic() - began)
    seen.see(whole(stage.path), "the file is spoilt")
    with ours.lines() as (line,):
        lives = {name: line.active(login["access_token"])
                 for name, login in (("before", before), ("after", after))}  # fmt: skip
    if restored:  # what it shows is the copy's own time
        seen.see(lives == {"before": True, "after": False}, f"the copy's file says {lives}")
    else:
        seen.see(lives == {"before": False, "after": True}, f"acknowledged, and then {lives}")
    return seen
