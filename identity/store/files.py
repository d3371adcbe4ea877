"""Whether the files of a SQLite database are still the ones that were opened.

Whoever replaces the file of a running service, or deletes its log, leaves it with files that
nobody else sees: what is revoked elsewhere would never be heard, and what is written here would be
gone with the process.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic, time_ns

from identity.errors import Unavailable

LOOK_AGAIN = 0.01
"""Seconds after which all files are compared even where their folder has not changed: it may be
another folder by now, its clock may be coarse, or the database's name may be a link."""
TICK = 20_000_000
"""Nanoseconds within which a folder may change twice and keep one time: kernels take it from a
clock that moves every 1 to 10 ms."""

Key = tuple[int, int]


class Files:
    """The database at `path` and its log, as they were when this was made and `log_opened`.

    `when_lost` is called once, from any thread, when they are found to be others.
    """

    def __init__(self, path: str, when_lost: Callable[[], object]) -> None:
        self._path = path
        self._log_paths = [os.path.realpath(path) + end for end in ("-wal", "-shm")]
        self._when_lost = when_lost
        self._lost = ""
        self._telling = Lock()
        self._database = _key(path)
        self._logs: list[Key | None] = []
        self._connection: sqlite3.Connection | None = None
        self._folder = _opened(os.path.dirname(self._log_paths[0]))
        self._folder_changed = -1
        self._look_again = 0.0

    def log_opened(self, connection: sqlite3.Connection) -> None:
        """`connection`, of any thread, has read: as long as it is open the log and its index
        stay."""
        self._logs = [_key(path) for path in self._log_paths]
        self._connection = connection
        self._look_again = 0.0

    def log_closed(self) -> None:
        """That connection is gone; the last one to be closed takes the log along."""
        self._logs = []
        self._connection = None

    def check(self) -> None:
        """Raises `Unavailable` once the files are not the ones that were opened. Not within a
        transaction."""
        if not self._lost:
            # All that is made, renamed or deleted in a folder changes its time. To ask for it costs
            # a microsecond, to look for three files by name five.
            changed = os.fstat(self._folder).st_mtime_ns if self._folder >= 0 else -1
            now = monotonic()
            if changed == self._folder_changed >= 0 and now < self._look_again:
                return
            settled = time_ns() - changed > TICK
            self._compare()
            self._folder_changed = changed if settled else -1
            self._look_again = now + LOOK_AGAIN
        if self._lost:
            with self._telling:
                tell, self._when_lost = self._when_lost, _nothing
                if tell is not _nothing:
                    import structlog  # commands that only look have nothing to log

                    structlog.get_logger().error(
                        "database lost", path=self._path, reason=self._lost
                    )
                    self._tidy()
                    tell()
            raise Unavailable(audit=self._lost)

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _compare(self) -> None:
        if _key(self._path) != self._database:
            self._lost = "another file has its name, or none"
            return
        for path, opened in zip(self._log_paths, self._logs, strict=False):
            if opened is not None and _key(path) != opened:
                self._lost = f"{os.path.basename(path)} was deleted or replaced"

    def _tidy(self) -> None:
        """What the log holds is put into the file that it belongs to. Left beside another file
        it would be taken for that one's: then it goes."""
        wal, index = self._log_paths
        replaced = _key(self._path) != self._database
        ours = [_key(path) for path in self._log_paths] == self._logs
        alone = ours or (not replaced and _key(index) is None)
        if self._connection is not None and alone:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA busy_timeout=200")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if replaced and ours:
            for path in (wal, index):
                with suppress(OSError):
                    os.unlink(path)


def _key(path: str) -> Key | None:
    """Device and inode."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _opened(folder: str) -> int:
    """A descriptor of the folder; -1 where it must not be read."""
    try:
        return os.open(folder or ".", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        return -1


def _nothing() -> None:
    pass
