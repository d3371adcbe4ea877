"""Tokens that have passed the gate, remembered by their text, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from identity.verifier.gate.claims import VerifiedClaims
from identity.verifier.gate.reading import VerificationKey
from identity.verifier.revocations.denylist import Subject

_SECOND_CHANCES = 64
"""At the most, so that no request pays for a whole round."""


class Known(Subject):
    """A verified token: `good_until` is Unix time, `key` the very key that verified it."""

    __slots__ = ("bound", "claims", "good_from", "good_until", "key", "used")

    def __init__(self, claims: VerifiedClaims, key: VerificationKey) -> None:
        super().__init__(claims)
        self.claims = claims
        self.key = key
        said, leeway = claims.claims, claims.leeway
        issued_at = said["iat"]
        not_before = said.get("nbf", issued_at)
        later = not_before if not_before > issued_at else issued_at
        self.good_from: float = later - leeway
        self.good_until: float = said["exp"] + leeway
        self.bound: Mapping[str, str] | None = said.get("cnf")
        self.used = True


class KnownTokens:
    """The least recently used go, roughly: whoever was used since it was last looked at gets a
    second round. So finding one writes nothing that another thread could trip over.

    By text and not by a digest, which costs a microsecond more than the whole rest.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tokens: dict[str, Known] = {}
        self._writing = Lock()
        self.get = self._tokens.get

    def __len__(self) -> int:
        return len(self._tokens)

    def put(self, text: str, known: Known) -> None:
        if self._size <= 0:
            return
        with self._writing:
            tokens = self._tokens
            chances = _SECOND_CHANCES
            while len(tokens) >= self._size:
                oldest = next(iter(tokens))
                entry = tokens.pop(oldest)
                if entry.used and chances:
                    chances -= 1
                    entry.used = False
                    tokens[oldest] = entry
            known.used = False
            tokens[text] = known

    def drop(self, text: str) -> None:
        with self._writing:
            self._tokens.pop(text, None)
