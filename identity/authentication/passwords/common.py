"""The most common passwords, as an offline filter: `common.bin`, explained in `common.txt`.

The file holds sorted 40-bit fingerprints, so a password that is not on the list is taken for one
that is with a probability of entries / 2^40: 3.5e-8.
"""

from bisect import bisect_left
from functools import cache
from hashlib import blake2b
from pathlib import Path

SHORTEST = 4
"""Characters of the shortest word on the list: what people make passwords of."""
WIDTH = 5
"""Bytes of a fingerprint."""


def fingerprint(password: str) -> bytes:
    """Of the caseless password: `Password1` is as common as `password1`."""
    return blake2b(password.casefold().encode(), digest_size=WIDTH).digest()


def is_common(password: str) -> bool:
    """Whether `password` (prepared, so without surrogates) is among the most common ones."""
    sought = fingerprint(password)
    fingerprints = _fingerprints()
    at = bisect_left(fingerprints, sought)
    return at < len(fingerprints) and fingerprints[at] == sought


class Fingerprints:
    """The records of a filter, in order."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed) // WIDTH

    def __getitem__(self, at: int) -> bytes:
        return self._packed[at * WIDTH : at * WIDTH + WIDTH]


@cache
def _fingerprints() -> Fingerprints:
    return Fingerprints(Path(__file__).with_name("common.bin").read_bytes())
