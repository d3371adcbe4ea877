"""PS256 and EdDSA for python-jose, which has neither: `Key` classes around cryptography's keys.

`algorithms` registers them, so that `jose.jws` and `jose.jwt` know the two names as well. ES256 is
python-jose's own, without its detours: most of what this project does all day is this algorithm.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from jose.backends import ECKey  # type: ignore[import-untyped,unused-ignore]
from jose.backends.base import Key  # type: ignore[import-untyped,unused-ignore]
from jose.exceptions import JWKError  # type: ignore[import-untyped,unused-ignore]

_SHA256 = hashes.SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_HALF = 32  # octets of each of the two integers in a signature (RFC 7518 §3.4)
# RFC 7518 §3.5: MGF1 with the same hash, a salt as long as its output; no other length verifies.
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=_SHA256.digest_size)


class ES256Key(ECKey):  # type: ignore[misc,unused-ignore]
    """ECDSA on P-256 with SHA-256 (RFC 7518 §3.4)."""

    prepared_key: Any

    def sign(self, msg: bytes) -> bytes:
        r, s = decode_dss_signature(self.prepared_key.sign(msg, _ECDSA))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def verify(self, msg: bytes, sig: bytes) -> bool:
        if len(sig) != 2 * _HALF:
            return False
        r, s = int.from_bytes(sig[:_HALF], "big"), int.from_bytes(sig[_HALF:], "big")
        public = self.prepared_key if self.is_public() else self.prepared_key.public_key()
        try:
            public.verify(encode_dss_signature(r, s), msg, _ECDSA)
        except InvalidSignature:
            return False
        return True


class PSSKey(Key):  # type: ignore[misc,unused-ignore]
    """RSASSA-PSS with SHA-256 (RFC 7518 §3.5)."""

    def __init__(self, key: Any, algorithm: str) -> None:
        if algorithm != "PS256" or not isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
            raise JWKError("PS256 takes RSA key objects")
        super().__init__(key, algorithm)
        self.prepared_key: Any = key

    def sign(self, msg: bytes) -> bytes:
        signature: bytes = self.prepared_key.sign(msg, _PSS, _SHA256)
        return signature

    def verify(self, msg: bytes, sig: bytes) -> bool:
        try:
            self.public_key().prepared_key.verify(sig, msg, _PSS, _SHA256)
        except InvalidSignature:
            return False
        return True

    def is_public(self) -> bool:
        return isinstance(self.prepared_key, rsa.RSAPublicKey)

    def public_key(self) -> PSSKey:
        return self if self.is_public() else PSSKey(self.prepared_key.public_key(), "PS256")


class Ed25519Key(Key):  # type: ignore[misc,unused-ignore]
    """EdDSA on Ed25519 (RFC 8037 §3.1)."""

    def __init__(self, key: Any, algorithm: str) -> None:
        if algorithm != "EdDSA" or not isinstance(
            key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey
        ):
            raise JWKError("EdDSA takes Ed25519 key objects")
        super().__init__(key, algorithm)
        self.prepared_key: Any = key

    def sign(self, msg: bytes) -> bytes:
        signature: bytes = self.prepared_key.sign(msg)
        return signature

    def verify(self, msg: bytes, sig: bytes) -> bool:
        try:
            self.public_key().prepared_key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True

    def is_public(self) -> bool:
        return isinstance(self.prepared_key, ed25519.Ed25519PublicKey)

    def public_key(self) -> Ed25519Key:
        return self if self.is_public() else Ed25519Key(self.prepared_key.public_key(), "EdDSA")
