"""Nonces for DPoP proofs (RFC 9449 §8 and §9) that nobody has to remember.

A nonce is the second in which it was given, and a keyed digest of that: whoever has the key can
say whether it is one of theirs, on whichever machine it was given, and how old it is.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from typing import Final

from identity.verifier.gate.encoding import b64url_decode, b64url_encode

LIFE: Final = 300.0
"""Seconds that a nonce may be used."""
CLOCKS_DIFFER: Final = 30.0
"""Seconds by which the clock of the machine that gave it may be ahead."""
_TAG: Final = 16  # octets


class Nonces:
    """`keys`: at least 32 octets each, the newest first; it makes nonces, and all of them are
    recognised. `clock` gives Unix time. ValueError where there is no such key."""

    def __init__(
        self, keys: Sequence[bytes], clock: Callable[[], float] = time.time, life: float = LIFE
    ) -> None:
        if not keys or any(len(key) < 32 for key in keys):
            raise ValueError("nonces need a key of at least 32 octets")
        self._keys = tuple(keys)
        self._clock = clock
        self._life = life

    def new(self) -> str:
        at = int(self._clock()).to_bytes(8, "big")
        return b64url_encode(at + _tag(self._keys[0], at)).decode()

    def knows(self, nonce: str) -> bool:
        """Whether it was given here or by somebody with our key, and not too long ago."""
        try:
            octets = b64url_decode(nonce.encode("ascii"))
        except ValueError:
            return False
        at, tag = octets[:8], octets[8:]
        if not any(hmac.compare_digest(tag, _tag(key, at)) for key in self._keys):
            return False
        return -CLOCKS_DIFFER <= self._clock() - int.from_bytes(at, "big") <= self._life


def _tag(key: bytes, at: bytes) -> bytes:
    return hmac.digest(key, b"dpop nonce " + at, "sha256")[:_TAG]
