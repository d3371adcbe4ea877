"""The signature algorithms that exist. One row a name (RFC 7518 §3.1, RFC 8037 §3.1).

The first row is the default. A caller makes a signer or verifier once and keeps it: building an
RSA key costs a hundred signatures. Signatures are made and checked by `cryptography` alone;
python-jose and joserfc are the oracles of the tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from identity.verifier.gate.encoding import b64url_encode
from identity.verifier.gate.jwk import (
    PRIVATE_MEMBERS,
    Jwk,
    base64url_uint,
    expect,
    octets_of,
    thumbprint,
)
from identity.verifier.roca import is_roca

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

RSA_BITS: Final = 3072
"""Modulus of a key that we generate; keys brought along may have 2048 to 8192."""
_RSA_BITS_ACCEPTED: Final = range(2048, 8192 + 1)
_RSA_EXPONENTS: Final = range(65537, 1 << 64)

Sign = Callable[[bytes], bytes]
"""Makes the signature of a message, as a JWS carries it."""
Verify = Callable[[bytes, bytes], bool]
"""Whether the second is the key's signature of the first. False, whatever octets come."""

_SHA256: Final = hashes.SHA256()
_ECDSA: Final = ec.ECDSA(_SHA256)
# RFC 7518 §3.5: MGF1 with the same hash, a salt as long as its output; no other length verifies.
_PSS: Final = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=_SHA256.digest_size)
_HALF: Final = 32
"""Octets of each of the two integers in an ECDSA signature."""
_ORDER: Final = bytes.fromhex("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551")
_ZERO: Final = bytes(_HALF)
"""Of P-256's base point (FIPS 186-4 §D.1.2.3)."""


def _der(r: bytes, s: bytes) -> bytes:
    """An ECDSA signature as OpenSSL reads it (RFC 3279 §2.2.3), of two integers of 32 octets that
    are not zero. An octet of zeros keeps a first bit from being a sign; none may stand there else,
    which is rare enough to be left to `cryptography`."""
    if r[0] == 0 or s[0] == 0:
        return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    if r[0] < 0x80:
        if s[0] < 0x80:
            return b"\x30\x44\x02\x20" + r + b"\x02\x20" + s
        return b"\x30\x45\x02\x20" + r + b"\x02\x21\x00" + s
    if s[0] < 0x80:
        return b"\x30\x45\x02\x21\x00" + r + b"\x02\x20" + s
    return b"\x30\x46\x02\x21\x00" + r + b"\x02\x21\x00" + s


class Algorithm(ABC):
    """A row of the registry. Rows differ in how they generate, check and spell their keys."""

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def __repr__(self) -> str:
        return f"<Algorithm {self.name}>"

    @abstractmethod
    def generate(self) -> PrivateKey:
        """A new private key of the recommended size."""

    @abstractmethod
    def check(self, key: object) -> None:
        """ValueError with a sentence, unless `key` (private or public) fits this algorithm."""

    @abstractmethod
    def _members(self, key: Any) -> dict[str, str]:
        """The JWK members, `kty` among them, that are the public key `key`."""

    @abstractmethod
    def _public_key(self, jwk: Jwk) -> PublicKey:
        """The reverse; ValueError where a member is missing or malformed."""

    def jwk(self, public_key: PublicKey | PrivateKey, kid: str | None = None) -> dict[str, str]:
        """The public JWK (RFC 7517 §4). Of a private key its public half; `kid` defaults to the
        key's thumbprint."""
        self.check(public_key)
        members = self._members(_public_half(public_key))
        return {
            "kty": members["kty"],
            "use": "sig",
            "alg": self.name,
            "kid": kid if kid is not None else thumbprint(members),
            **members,
        }

    @abstractmethod
    def _sign(self, key: Any) -> Sign: ...

    @abstractmethod
    def _verify(self, key: Any) -> Verify: ...

    def signer(self, private_key: PrivateKey) -> Sign:
        """What signs with this key. Keep it."""
        self.check(private_key)
        if not isinstance(private_key, PrivateKey):
            raise ValueError(f"{self.name} signs with a private key")
        return self._sign(private_key)

    def verifier(self, key: Jwk | PublicKey) -> Verify:
        """What verifies by this JWK or public key. Keep it.

        ValueError where a JWK is for another use or algorithm, malformed, or not public at all.
        """
        if isinstance(key, Mapping):
            key = self._read(key)
        self.check(key)
        if not isinstance(key, PublicKey):
            raise ValueError(f"{self.name} verifies with a public key")
        return self._verify(key)

    def _read(self, jwk: Jwk) -> PublicKey:
        if jwk.get("alg", self.name) != self.name:
            raise ValueError(f"JWK is not for {self.name}")
        if jwk.get("use", "sig") != "sig":
            raise ValueError("JWK is not for signatures")
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise ValueError("JWK is not for verifying")
        if not PRIVATE_MEMBERS.isdisjoint(jwk):
            raise ValueError("JWK is a private or secret key")
        return self._public_key(jwk)


class ECDSA(Algorithm):
    """ES256: ECDSA on P-256 with SHA-256 (RFC 7518 §3.4)."""

    def generate(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def check(self, key: object) -> None:
        if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
            raise ValueError(f"{self.name} needs an elliptic curve key")
        if not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"{self.name} needs a key on P-256, not on {key.curve.name}")

    def _members(self, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
        point = key.public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64url_encode(point.x.to_bytes(32, "big")).decode(),
            "y": b64url_encode(point.y.to_bytes(32, "big")).decode(),
        }

    def _public_key(self, jwk: Jwk) -> PublicKey:
        expect(jwk, kty="EC", crv="P-256")
        x, y = (int.from_bytes(octets_of(jwk, name, 32), "big") for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()

    def _sign(self, key: ec.EllipticCurvePrivateKey) -> Sign:
        def sign(message: bytes) -> bytes:
            r, s = decode_dss_signature(key.sign(message, _ECDSA))
            return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

        return sign

    def _verify(self, key: ec.EllipticCurvePublicKey) -> Verify:
        def verify(
            message: bytes,
            signature: bytes,
            check: Callable[..., None] = key.verify,
        ) -> bool:
            if len(signature) != 2 * _HALF:
                return False
            r, s = signature[:_HALF], signature[_HALF:]
            # As long as each other, so octets are in the order of the integers they spell.
            if not (_ZERO < r < _ORDER and _ZERO < s < _ORDER):
                return False
            try:
                check(_der(r, s), message, _ECDSA)
            except InvalidSignature:
                return False
            return True

        return verify


class RSA(Algorithm):
    """RS256 (RFC 7518 §3.3) and PS256 (§3.5): the same keys, padded differently."""

    def __init__(self, name: str, padded: padding.AsymmetricPadding) -> None:
        super().__init__(name)
        self._padded = padded

    def generate(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)

    def check(self, key: object) -> None:
        if not isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
            raise ValueError(f"{self.name} needs an RSA key")
        if key.key_size not in _RSA_BITS_ACCEPTED:
            accepted = f"{_RSA_BITS_ACCEPTED[0]} to {_RSA_BITS_ACCEPTED[-1]}"
            raise ValueError(f"{self.name} needs {accepted} bits, not {key.key_size}")
        public = _public_half(key).public_numbers()
        if public.e not in _RSA_EXPONENTS:
            raise ValueError(f"{self.name} needs a public exponent of 65537 or a little more")
        if is_roca(public.n):
            raise ValueError(
                f"{self.name} needs a key whose private half cannot be computed: this one was made "
                "by a faulty library (ROCA, CVE-2017-15361)"
            )

    def _members(self, key: rsa.RSAPublicKey) -> dict[str, str]:
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": base64url_uint(numbers.n), "e": base64url_uint(numbers.e)}

    def _public_key(self, jwk: Jwk) -> PublicKey:
        expect(jwk, kty="RSA")
        n, e = octets_of(jwk, "n"), octets_of(jwk, "e")
        if n[0] == 0 or e[0] == 0:
            raise ValueError("JWK has an integer with leading zeros")
        return rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()

    def _sign(self, key: rsa.RSAPrivateKey) -> Sign:
        return lambda message: key.sign(message, self._padded, _SHA256)

    def _verify(self, key: rsa.RSAPublicKey) -> Verify:
        octets = (key.key_size + 7) // 8

        def verify(
            message: bytes,
            signature: bytes,
            check: Callable[..., None] = key.verify,
            padded: padding.AsymmetricPadding = self._padded,
        ) -> bool:
            if len(signature) != octets:  # RFC 8017 §8.1.2 and §8.2.2, step 1
                return False
            try:
                check(signature, message, padded, _SHA256)
            except InvalidSignature:
                return False
            return True

        return verify


class EdDSA(Algorithm):
    """EdDSA on Ed25519 only (RFC 8037 §3.1)."""

    def generate(self) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.generate()

    def check(self, key: object) -> None:
        if not isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
            raise ValueError(f"{self.name} needs an Ed25519 key")

    def _members(self, key: ed25519.Ed25519PublicKey) -> dict[str, str]:
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": b64url_encode(key.public_bytes_raw()).decode(),
        }

    def _public_key(self, jwk: Jwk) -> PublicKey:
        expect(jwk, kty="OKP", crv="Ed25519")
        return ed25519.Ed25519PublicKey.from_public_bytes(octets_of(jwk, "x", 32))

    def _sign(self, key: ed25519.Ed25519PrivateKey) -> Sign:
        return key.sign

    def _verify(self, key: ed25519.Ed25519PublicKey) -> Verify:
        def verify(
            message: bytes, signature: bytes, check: Callable[..., None] = key.verify
        ) -> bool:
            try:
                check(signature, message)
            except InvalidSignature:
                return False
            return True

        return verify


ALGORITHMS: Final[dict[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        ECDSA("ES256"),
        RSA("RS256", padding.PKCS1v15()),
        RSA("PS256", _PSS),
        EdDSA("EdDSA"),
    )
}


def _public_half(key: Any) -> Any:
    return key.public_key() if isinstance(key, PrivateKey) else key
