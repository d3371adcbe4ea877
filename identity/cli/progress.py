"""How far a long command has come, for whoever watches it on a terminal."""

import sys
import time
from pathlib import Path


class Progress:
    """Silent where stderr is no terminal, but for what `say` is told."""

    def __init__(self, file: Path) -> None:
        self._size = max(file.stat().st_size, 1)
        self._began = time.monotonic()
        self._watched = sys.stderr.isatty()

    def say(self, words: str) -> None:
        self._clear()
        print(words, file=sys.stderr)

    def show(self, position: int, rows: int) -> None:
        """`position`: octets read of the file."""
        if self._watched:
            speed = rows / max(time.monotonic() - self._began, 0.001)
            share = min(position / self._size, 1)
            self._clear()
            print(f"{share:4.0%}  {rows:,} rows, {speed:,.0f}/s", end="", file=sys.stderr)
            sys.stderr.flush()

    def end(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr)
