"""SQLite's WAL index, which says whether anybody has committed: no query, no system call.

Every commit changes the index's header before it returns, in memory that all processes share
(https://www.sqlite.org/walformat.html, §2.1). Who sees the header it has seen before knows that
nothing was committed since.
"""

import mmap
import os
import struct

from identity.dataclass import dataclass

HEADER = 48  # bytes; a second copy follows
VERSION = 3007000


@dataclass()
class _Kept:
    descriptor: int
    memory: mmap.mmap
    users: int = 0


_kept: dict[tuple[int, int], _Kept] = {}
"""By device and inode. Closing any descriptor of a file drops all locks that this process has on
it, SQLite's too (POSIX, fcntl): one descriptor a file, closed after the last connection."""


class WalIndex:
    """The index of the database at `path`, to which a connection is open and has read.

    `close` once every connection of this process to it is closed. Not to be read without one.
    """

    def __init__(self, key: tuple[int, int]) -> None:
        self._key = key
        self._memory = _kept[key].memory
        _kept[key].users += 1

    @classmethod
    def of(cls, path: str) -> "WalIndex | None":
        """None where there is none to be read: not in WAL mode, or of a form unknown here."""
        name = os.path.realpath(path) + "-shm"  # beside the file itself, as SQLite does it
        try:
            status = os.stat(name)
            key = (status.st_dev, status.st_ino)
            if key not in _kept:
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                memory = mmap.mmap(descriptor, 2 * HEADER, access=mmap.ACCESS_READ)
                _kept[key] = _Kept(descriptor, memory)
        except (OSError, ValueError):
            return None
        index = cls(key)
        version, _, _, initialised = struct.unpack_from("=IIIB", index.header())
        # One of no use is kept open too: a connection holds locks.
        return index if version == VERSION and initialised else None

    def header(self) -> bytes:
        """Other bytes after every commit. Taken in the middle of one they may be of two."""
        return self._memory[:HEADER]

    def close(self) -> None:
        kept = _kept[self._key]
        kept.users -= 1
        if not kept.users:
            del _kept[self._key]
            kept.memory.close()
            os.close(kept.descriptor)
