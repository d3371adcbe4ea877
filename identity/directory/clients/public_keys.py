"""The key set that a client registers (RFC 7591 §2, RFC 7517 §5): public keys, and no others."""

import json
from base64 import b64decode, b64encode
from typing import Any, get_args

from cryptography.exceptions import UnsupportedAlgorithm

from identity.setting_types import Algorithm

MOST = 10
LARGEST = 16 * 1024
"""Characters of a set as JSON; certificates (`x5c`) are part of it."""
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS = frozenset(
    {"kty", "use", "key_ops", "alg", "kid", "x5u", "x5c", "x5t", "x5t#S256"}
    | {"crv", "x", "y", "n", "e"}
)
_KID = 200


def problems(jwks: dict[str, Any]) -> list[tuple[str, str]]:
    """(JSON pointer below the set, what is wrong there). A private key that somebody hands in is
    named, and never repeated."""
    keys = jwks.get("keys")
    if jwks.keys() != {"keys"} or not isinstance(keys, list):
        return [("", "must be a key set: an object whose one member is the list keys")]
    if not 1 <= len(keys) <= MOST:
        return [("/keys", f"must have 1 to {MOST} keys")]
    found = [(f"/keys/{n}", words) for n, key in enumerate(keys) if (words := _wrong(key))]
    if found:
        return found
    if len(json.dumps(jwks)) > LARGEST:
        return [("", f"may be {LARGEST} characters long at the most")]
    names = [key["kid"] for key in keys if "kid" in key]
    if len(set(names)) != len(names):
        return [("/keys", "must have a kid of its own in each key")]
    return []


def algorithms_of(jwk: dict[str, Any]) -> list[str]:
    """Names of the algorithms that this public key verifies by."""
    from identity.verifier.gate.algorithms import ALGORITHMS  # only who brings keys needs them

    fitting = []
    for name, algorithm in ALGORITHMS.items():
        try:
            algorithm.verifier(jwk)
        except (ValueError, TypeError):
            continue
        fitting.append(name)
    return fitting


def _wrong(key: object) -> str | None:
    if not isinstance(key, dict):
        return "must be a key (RFC 7517 §4)"
    if not _SECRET.isdisjoint(key) or key.get("kty") == "oct":
        return "must be a public key: this one is private or secret, and known to others by now"
    if unknown := sorted(key.keys() - _MEMBERS):
        return f"has members that no public key has: {' '.join(unknown)[:100]}"
    kid = key.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _KID or not kid.isprintable():
        return f"must have as kid a printable text of {_KID} characters at the most"
    if "x5c" in key and not _is_certified(key):
        return "must have as x5c a list of certificates, the first of which is for this key"
    if not algorithms_of(key):
        return f"must be a key for signatures by {', '.join(get_args(Algorithm))}"
    return None


def _is_certified(key: dict[str, Any]) -> bool:
    """RFC 7517 §4.7."""
    from cryptography import x509  # only who brings certificates needs it

    from identity.verifier.gate.algorithms import ALGORITHMS
    from identity.verifier.gate.jwk import thumbprint

    chain = key["x5c"]
    try:
        der = b64decode(chain[0], validate=True)
        public: Any = x509.load_der_x509_certificate(der).public_key()
        names = [ALGORITHMS[alg].jwk(public)["kid"] for alg in algorithms_of(key)]
        return b64encode(der).decode() == chain[0] and thumbprint(key) in names
    except (ValueError, TypeError, LookupError, UnsupportedAlgorithm):
        return False
