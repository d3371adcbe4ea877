"""The file system under SQLite's file turns read-only, as Linux does it once a disk answers with
errors: from then on nothing is written, until somebody repairs it and starts the service anew."""

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.files import no_mounts, whole
from tests.faults.loading import Load, meanwhile, refusals
from tests.faults.replicas import Replicas
from tests.trials.row import Outcome, Place

SIZE = "48M"
TOOLS = ("mkfs.ext4", "e2fsck", "truncate", "mount", "umount")


@dataclass
class Disk:
    """A file system in a file of this one."""

    image: Path
    folder: Path

    def make(self) -> None:
        _do("truncate", "-s", SIZE, self.image)
        _do("mkfs.ext4", "-q", self.image)
        self.folder.mkdir()

    def mount(self) -> None:
        _do("mount", "-o", "loop", self.image, self.folder)

    def fail(self) -> None:
        """As after an error of the disk: the journal has ended, and nothing is written any more."""
        _do("mount", "-o", "remount,abort", self.folder)

    def repair(self) -> None:
        """1 of e2fsck is "errors were mended"."""
        _do("umount", self.folder)
        assert subprocess.run(["e2fsck", "-y", self.image], capture_output=True).returncode <= 1
        self.mount()

    def remove(self) -> None:
        subprocess.run(["umount", "-l", self.folder], capture_output=True)


@dataclass
class OnDisk:
    replicas: Replicas
    disk: Disk
    path: Path


def lacking() -> str:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if reason := f"it needs {', '.join(missing)}" if missing else no_mounts():
        return reason
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "disk.img", Path(folder) / "disk")
        try:
            disk.make()
            disk.mount()
            disk.fail()
        except subprocess.CalledProcessError as error:
            return f"it may not make a file system here: {error.stderr.strip()}"
        finally:
            disk.remove()
    return ""


@contextmanager
def on_ext4(database: str, place: Place) -> Iterator[OnDisk]:
    """The database alone is on it: log and keys are elsewhere."""
    disk = Disk(place.folder / "disk.img", place.folder / "disk")
    disk.make()
    disk.mount()
    try:
        fresh = place.templates.fresh("sqlite", place.folder).removeprefix("sqlite:///")
        path = disk.folder / "identity.db"
        shutil.move(fresh, path)
        replicas = Replicas(f"sqlite:///{path}", place.folder, 1)
        try:
            yield OnDisk(replicas, disk, path)
        finally:
            replicas.close()
    finally:
        disk.remove()


def turned(stage: OnDisk, dice: random.Random) -> Outcome:
    """Whoever writes is told 503, whoever asks is answered; after the repair nothing that was
    acknowledged is lost."""
    ours = stage.replicas

    def happen() -> None:
        stage.disk.fail()
        time.sleep(dice.uniform(1, 4))

    load = Load.on(ours, dice)
    meanwhile(load, happen)
    seen = refusals(load, reads_go_on=True)
    began = time.monotonic()
    ours.servers[0].kill()
    with ours.without_it():
        stage.disk.repair()
    seen.see(whole(stage.path), "the file is spoilt")
    ours.servers[0] = ours.start()
    seen.recovered(time.monotonic() - began)
    with ours.lines() as (line,):
        for session in load.sessions:
            if session.state != "unknown" and not session.tried:
                active = line.active(session.access)
                kept = active is (session.state == "live")
                seen.see(kept, f"{session.state} as acknowledged, and then active: {active}")
    return seen


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
