"""DPoP at a resource (RFC 9449 §7): a token that is bound to a key comes with a proof of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from typing import Final

from identity.verifier.errors import InvalidProof, IssuerUnavailable, NonceNeeded
from identity.verifier.gate.gate import Refused
from identity.verifier.gate.proofs import WINDOW, Proof, Proofs
from identity.verifier.nonces import Nonces

LONGEST: Final = 2 * WINDOW
"""Seconds for which a proof is good that says it is of the furthest future."""
MOST: Final = 500_000
"""Proofs that are remembered, at 100 octets each. Whoever sends one has a good token."""


@dataclass(frozen=True, slots=True)
class DPoP:
    """A request's proof, and what it has to be a proof of."""

    proof: str = field(repr=False)
    """The value of the header `DPoP`."""
    method: str
    url: str
    """Where clients reach what they ask for. From the settings and the path, never from `Host`."""


class Proving:
    """Whether proofs are good, and each the first of its kind here. From any thread.

    `nonces`: where given, every proof needs one of these. Proofs are remembered by this process,
    for as long as their time allows them to be sent again."""

    def __init__(self, proofs: Proofs, nonces: Nonces | None, clock: Callable[[], float]) -> None:
        self.algorithms = proofs.algorithms
        self._proofs = proofs
        self._nonces = nonces
        self._clock = clock
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()
        self._turned = float("-inf")
        self._turning = Lock()

    def check(self, presented: DPoP, token: str) -> Proof:
        """Raises `InvalidProof` or `NonceNeeded`."""
        try:
            proof = self._proofs.check(presented.proof, presented.method, presented.url, token)
        except Refused as refused:
            raise InvalidProof(str(refused)) from None
        if self._nonces is not None and not (proof.nonce and self._nonces.knows(proof.nonce)):
            raise NonceNeeded(self._nonces.new())
        return proof

    def use(self, proof: Proof) -> None:
        """Raises `InvalidProof` where it was used before."""
        key = sha256(f"{proof.jkt}{proof.jti}".encode("utf-8", "surrogatepass")).digest()[:16]
        with self._turning:
            now = self._clock()
            if now - self._turned > LONGEST:  # none of the older is good any more
                late = now - self._turned > 2 * LONGEST
                self._older, self._newer = set() if late else self._newer, set()
                self._turned = now
            if key in self._newer or key in self._older:
                raise InvalidProof("jti: it was used before")
            if len(self._newer) + len(self._older) >= MOST:
                raise IssuerUnavailable("more proofs within two minutes than are remembered")
            self._newer.add(key)
