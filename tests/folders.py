"""Where tests write: in memory where there is room, since the databases of most sync every commit,
for which a disk takes milliseconds and a crash of the machine is nobody's question here."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 2**30  # octets
PROGRAMS_ROOM = 4 * ROOM
"""Where whole environments of programs are made as well."""


def place(*, programs: bool = False) -> Path:
    """A folder to make folders in. `programs`: what lies there must be able to run."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return Path(tempfile.gettempdir())
    roomy = shutil.disk_usage(MEMORY).free > (PROGRAMS_ROOM if programs else ROOM)
    runs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    return MEMORY if roomy and (runs or not programs) else Path(tempfile.gettempdir())
