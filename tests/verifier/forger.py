"""A hand that signs whatever it is given, and writes it as no library would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey

GONE = object()
"""Instead of a member's value: leave the member out."""

Attack = tuple[str, str]
"""`rule: what was done`, and the token."""


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def spell(value: object) -> bytes:
    """JSON as a well-behaved issuer writes it; text and octets go through as they are."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


class Forger:
    """Signs whatever it is given with one key."""

    def __init__(self, private_key: PrivateKey, kid: str, alg: str, claims: Mapping[str, Any]):
        self.private_key = private_key
        self.kid = kid
        self.alg = alg
        self.claims = dict(claims)
        self.header: dict[str, Any] = {"typ": "at+jwt", "alg": alg, "kid": kid}
        self._signer = ALGORITHMS[alg].signer(private_key)

    def sign(self, signed: bytes) -> bytes:
        return self._signer(signed)

    def token(self, header: object = None, payload: object = None) -> str:
        """A token of this header and payload, whatever they are, with a good signature."""
        header = self.header if header is None else header
        payload = self.claims if payload is None else payload
        signed = f"{b64(spell(header))}.{b64(spell(payload))}"
        return f"{signed}.{b64(self.sign(signed.encode()))}"

    def with_header(self, **members: object) -> str:
        return self.token(header=_merged(self.header, members))

    def with_claims(self, **members: object) -> str:
        return self.token(payload=_merged(self.claims, members))

    def spliced(self, claim: str, raw: str) -> str:
        """A token whose `claim` is the raw JSON text `raw`."""
        text = json.dumps(_merged(self.claims, {claim: "\0splice\0"}))
        return self.token(payload=text.replace(json.dumps("\0splice\0"), raw))

    def hmac(self, secret: bytes, **members: object) -> str:
        header = _merged(self.header, {"alg": "HS256", **members})
        signed = f"{b64(spell(header))}.{b64(spell(self.claims))}"
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _merged(base: Mapping[str, Any], members: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **members}.items() if value is not GONE}
