"""A client that holds a key and proves it (RFC 9449), for tests."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import b64url_encode
from identity.verifier.gate.jwk import thumbprint


class ProofKey:
    """A new key. `issuer.token(…, key=key)` is bound to it, and `key.headers(…)` sends that token
    as such a client does. `clock` gives Unix time."""

    def __init__(self, algorithm: str = "ES256", clock: Callable[[], float] = time.time) -> None:
        row = ALGORITHMS[algorithm]
        private = row.generate()
        self.algorithm = algorithm
        self.jwk = {k: v for k, v in row.jwk(private).items() if k not in ("use", "alg", "kid")}
        self.jkt = thumbprint(self.jwk)
        self._sign = row.signer(private)
        self._clock = clock

    def headers(self, method: str, url: str, token: str, **claims: Any) -> dict[str, str]:
        """The two headers of a request with `token`."""
        proof = self.proof(method, url, token, **claims)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}

    def proof(
        self,
        method: str,
        url: str,
        token: str | None = None,
        *,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A proof of one request. Further members of `header` and `claims` win, and None leaves one
        out; `nonce` is a claim."""
        said: dict[str, Any] = {
            "jti": str(uuid.uuid4()),
            "htm": method,
            "htu": url,
            "iat": int(self._clock()),
        }
        if token is not None:
            said["ath"] = b64url_encode(sha256(token.encode()).digest()).decode()
        members = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk, **(header or {})}
        return self.sign(_without_none(members), _without_none({**said, **claims}))

    def sign(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        """Any JWT, signed with this key."""
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, payload))
        signed = b".".join(b64url_encode(part) for part in parts)
        return (signed + b"." + b64url_encode(self._sign(signed))).decode()


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
