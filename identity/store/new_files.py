"""Files that hold secrets: their owner's alone from the first byte, whole or not there at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Draft(NamedTuple):
    path: Path
    descriptor: int

    def write(self, octets: bytes) -> None:
        with open(self.descriptor, "wb", closefd=False) as opened:
            opened.write(octets)


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[Draft]:
    """What to write to; `path` (0600) appears when the block ends without an error.

    `FileExistsError` where it is there already and `replace` is not set; whatever else the system
    refuses is told of `path`.
    """
    if not replace and os.path.lexists(path):
        raise FileExistsError(17, "exists already; nothing was written", str(path))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield Draft(draft, descriptor)
        os.fsync(descriptor)
        if replace:
            draft.rename(path)
        else:
            os.link(draft, path)  # unlike a rename, it never replaces
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
