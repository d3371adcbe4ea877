"""Signing with a kept key: JWS compact serialisation (RFC 7515 §7.1) of a claims object.

The signature itself is python-jose's (`josekeys`).
"""

from collections.abc import Mapping
from typing import Any

import orjson

from identity.keys.josekeys import signing_key
from identity.verifier.gate.algorithms import PrivateKey
from identity.verifier.gate.encoding import b64url_encode


class Signer:
    """One key. Made once and kept: an RSA key costs a hundred signatures to build."""

    def __init__(self, kid: str, algorithm: str, key: PrivateKey) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self._sign = signing_key(key, algorithm).sign
        self._headers: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<Signer {self.algorithm} {self.kid}>"

    def sign(self, claims: Mapping[str, Any], typ: str = "at+jwt") -> str:
        """`claims` as a signed JWT of type `typ` (RFC 9068 §2.1). TypeError where they are not
        JSON: lone surrogates, integers beyond 64 bits."""
        header = self._headers.get(typ) or self._header(typ)
        signed = header + b64url_encode(orjson.dumps(claims))
        return (signed + b"." + b64url_encode(self._sign(signed))).decode("ascii")

    def _header(self, typ: str) -> bytes:
        members = {"alg": self.algorithm, "typ": typ, "kid": self.kid}
        self._headers[typ] = b64url_encode(orjson.dumps(members)) + b"."
        return self._headers[typ]
