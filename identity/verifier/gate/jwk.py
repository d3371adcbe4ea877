"""JSON Web Keys (RFC 7517): how their members are spelt, and their thumbprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from identity.verifier.gate.encoding import b64url_decode, b64url_encode

Jwk = Mapping[str, Any]

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "OKP": ("crv", "kty", "x"),
}


def thumbprint(jwk: Jwk) -> str:
    """RFC 7638 with SHA-256, 43 base64url characters. Used as `kid`."""
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return b64url_encode(hashlib.sha256(canonical).digest()).decode()


def base64url_uint(number: int) -> str:
    """Base64urlUInt (RFC 7518 §2): the fewest octets."""
    return b64url_encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def expect(jwk: Jwk, **members: str) -> None:
    """ValueError where one of these members is another."""
    for name, value in members.items():
        if jwk.get(name) != value:
            raise ValueError(f"JWK member {name} is not {value}")


def octets_of(jwk: Jwk, name: str, length: int | None = None) -> bytes:
    """A member that is base64url. ValueError where it is not, is empty, or is not so long."""
    value = jwk.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise ValueError(f"JWK member {name} is not base64url")
    octets = b64url_decode(value.encode())
    if not octets or (length is not None and len(octets) != length):
        raise ValueError(f"JWK member {name} has the wrong length")
    return octets
