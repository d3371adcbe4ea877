"""What is wrong with files, and where: every mistake names its file and line."""

from collections.abc import Sequence
from typing import NamedTuple

SHOWN = 20


class Mistake(NamedTuple):
    place: str
    """`shop.yaml:12`; empty where it is in no file."""
    pointer: str
    """JSON pointer (RFC 6901) to the member; empty: the whole."""
    words: str

    def __str__(self) -> str:
        where = [part for part in (self.place, self.pointer) if part]
        return ": ".join([*where, self.words.rstrip(".")])


class Mistaken(Exception):
    """Nothing was done."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(str(mistakes[0]))
        self.mistakes = list(mistakes)

    def lines(self) -> list[str]:
        lines = [f"identity: {mistake}" for mistake in self.mistakes[:SHOWN]]
        if left := len(self.mistakes) - SHOWN:
            lines += [f"identity: and {left} more"] if left > 0 else []
        return lines

    def line(self) -> str:
        """All of it in one."""
        left = len(self.mistakes) - 1
        return f"{self.mistakes[0]}{f' (and {left} more)' if left else ''}"
