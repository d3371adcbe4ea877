"""Whoever signs JWTs elsewhere: clients, clusters, identity providers. By joserfc, which shares no
code with the service."""

import uuid
import warnings
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from identity.clock import now

ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA"]
_MADE: dict[str, list[Any]] = {}


def _key(alg: str, kid: str) -> Any:
    options = {"kid": kid, "use": "sig"}
    if alg == "ES256":
        return ECKey.generate_key("P-256", options)
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519", options)
    return RSAKey.generate_key(2048, options)


class Signer:
    """One key. `kid` None: its JWK and its headers have none."""

    def __init__(self, alg: str = "ES256", kid: str | None = "one") -> None:
        self.alg, self.kid = alg, kid
        self._key = _key(alg, kid or "unnamed")

    @property
    def jwk(self) -> dict[str, Any]:
        public = {**self._key.as_dict(private=False), "alg": self.alg}
        if self.kid is None:
            del public["kid"]
        return public

    @property
    def jwks(self) -> dict[str, Any]:
        return key_set(self)

    @property
    def private(self) -> dict[str, Any]:
        return dict(self._key.as_dict(private=True))

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """`claims` as they are, None taken out. `header`: members that differ, None taken out."""
        members = {"alg": self.alg, "typ": "JWT", "kid": self.kid} | header
        members = {name: value for name, value in members.items() if value is not None}
        told = {name: value for name, value in claims.items() if value is not None}
        registry = jws.JWSRegistry(
            algorithms=[*ALGORITHMS, "HS256", "none"], strict_check_header=False
        )
        with warnings.catch_warnings():  # RFC 9864 gives EdDSA on this curve a name of its own
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(members, told, self._key, registry=registry, default_type=None)


def key_set(*signers: Signer) -> dict[str, Any]:
    return {"keys": [signer.jwk for signer in signers]}


def said(client_id: str, audience: Any, **changed: Any) -> dict[str, Any]:
    """What a client's assertion says (RFC 7523 §3); None takes a claim out."""
    at = now()
    return {
        "iss": client_id, "sub": client_id, "aud": audience, "iat": int(at),
        "exp": int(at) + 60, "jti": str(uuid.uuid4()), **changed,
    }  # fmt: skip


def from_now(claims: dict[str, Any]) -> dict[str, Any]:
    """`claims` with times that were given as seconds from now."""
    at = int(now())
    return {name: at + value if type(value) is int else value for name, value in claims.items()}
