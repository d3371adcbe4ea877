"""python-jose's keys, which sign what this service issues.

PS256 and EdDSA it does not have: they are registered with it, so that `jose.jws` and `jose.jwt`
know the two names as well. ES256 goes without its detours: `/token` does little else all day. All
three rest on the rows of `identity.verifier.gate.algorithms`, which verify without python-jose.
"""

from __future__ import annotations

from typing import Any, Protocol

from identity.left_out import in_place_of
from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey


def _x509() -> Any:
    from cryptography import x509

    return x509


def _certificate(*given: Any) -> Any:
    return _x509().load_pem_x509_certificate(*given)


# python-jose reads keys out of certificates as well. We give it none; it keeps the way there.
with in_place_of("cryptography.x509", _x509, load_pem_x509_certificate=_certificate):
    from jose import jwk as jose_jwk
    from jose.backends.base import Key
    from jose.exceptions import JWKError


class JoseKey(Protocol):
    """What is used of a python-jose `Key`."""

    def sign(self, msg: bytes) -> bytes: ...

    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class RowKey(Key):  # type: ignore[misc,unused-ignore]
    """A key of one of our algorithms, either half of it."""

    def __init__(self, key: Any, algorithm: str) -> None:
        row = ALGORITHMS[algorithm]
        try:
            row.check(key)
        except ValueError as problem:
            raise JWKError(f"{problem}, as a key object") from None
        super().__init__(key, algorithm)
        self.prepared_key: Any = key
        self.algorithm = algorithm
        if isinstance(key, PrivateKey):
            self.sign = row.signer(key)
            key = key.public_key()
        self.verify = row.verifier(key)

    def is_public(self) -> bool:
        return not isinstance(self.prepared_key, PrivateKey)

    def public_key(self) -> RowKey:
        if self.is_public():
            return self
        return RowKey(self.prepared_key.public_key(), self.algorithm)


jose_jwk.register_key("PS256", RowKey)
jose_jwk.register_key("EdDSA", RowKey)


def signing_key(key: PrivateKey, algorithm: str) -> JoseKey:
    """Keep it: building an RSA key costs a hundred signatures."""
    ALGORITHMS[algorithm].check(key)
    found: JoseKey = (RowKey if algorithm == "ES256" else jose_jwk.construct)(key, algorithm)
    return found
