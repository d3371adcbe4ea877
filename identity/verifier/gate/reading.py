"""What the rules are asked about: a token as far as it has been read, and what the gate was told to
expect of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from identity.verifier.gate.algorithms import Verify
from identity.verifier.gate.claims import Terms

HEADERS_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key that we trust: its id, its algorithm, and what checks a signature by it
    (`ALGORITHMS[alg].verifier(...)`)."""

    kid: str
    alg: str
    verify: Verify = field(repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a gate was told to expect."""

    issuer: str
    keys: Callable[[str], VerificationKey | None]
    audiences: frozenset[str] | None
    algorithms: frozenset[str]
    leeway: float
    skew: float
    """`leeway` for `iat` and `nbf`."""
    headers: dict[bytes, tuple[bytes, dict[str, Any]]] = field(default_factory=dict)
    """Headers of tokens whose signature was good: as base64url, which is canonical, to octets and
    what they read. An issuer writes one a key, and nobody else can put one here. Saves a
    twentieth of a check."""
    usual: dict[bytes, Terms] = field(default_factory=dict)
    """Headers of tokens that have passed every rule, as base64url, to what they passed by: for
    `shortcut`, which does not look at such a header again."""


class Reading:
    """A token as far as it has been read. None: not yet, or it could not be."""

    __slots__ = ("claims", "head", "header", "key", "now", "octets", "segments", "token")

    def __init__(self, token: object, now: float) -> None:
        self.token = token
        self.now = now
        self.octets: bytes | None = None
        self.head: bytes | None = None  # the header's segment as it came
        self.segments: tuple[bytes, bytes, bytes] | None = None  # decoded
        self.header: dict[str, Any] | None = None
        self.key: VerificationKey | None = None
        self.claims: dict[str, Any] | None = None
