"""An issuer for these tests: a key of every algorithm, made once, what its forger makes of it, and
gates whose clock stands. Its RSA keys have 2048 bits, the fewest that the gate takes: thousands of
tokens are signed with them."""

from __future__ import annotations

from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from identity.verifier import Gate, VerificationKey
from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey
from identity.verifier.gate.jwk import thumbprint
from tests.verifier import forge
from tests.verifier.forger import Attack, Forger

ISSUER = "https://identity.example"
AUDIENCE = "https://api.example"
NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "0199a6b0-0000-7000-8000-000000000001",
    "aud": AUDIENCE,
    "client_id": "first-party",
    "exp": NOW + 900,
    "iat": NOW - 5,
    "nbf": NOW - 5,
    "jti": "0199a6b0-0000-7000-8000-000000000002",
    "scope": "users:read users:write",
    "sid": "0199a6b0-0000-7000-8000-000000000003",
    "username": "alice",
    "roles": ["admin"],
}


@cache
def private_key(alg: str) -> PrivateKey:
    if alg in ("RS256", "PS256"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ALGORITHMS[alg].generate()


@cache
def trusted() -> dict[str, VerificationKey]:
    """A key of every algorithm by kid."""
    keys = {}
    for alg, algorithm in ALGORITHMS.items():
        public = private_key(alg).public_key()
        kid = thumbprint(algorithm.jwk(public))
        keys[kid] = VerificationKey(kid, alg, algorithm.verifier(public))
    return keys


def kid_of(alg: str) -> str:
    return next(key.kid for key in trusted().values() if key.alg == alg)


@cache
def forger(alg: str) -> Forger:
    return Forger(private_key(alg), kid_of(alg), alg, CLAIMS)


@cache
def good(alg: str) -> str:
    """A token with nothing wrong about it."""
    return forger(alg).token()


@cache
def every_attack(alg: str) -> tuple[Attack, ...]:
    signer = (private_key(alg), kid_of(alg), alg, CLAIMS)
    return *forge.attacks(*signer), *forge.unprintable_attacks(*signer)


def gate(**changes: Any) -> Gate:
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "keys": trusted().get,
        "audience": AUDIENCE,
        "clock": lambda: float(NOW),
    }
    return Gate(**{**settings, **changes})
