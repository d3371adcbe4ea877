"""What a protected resource says to its clients: challenges (RFC 6750 §3, RFC 9449 §7.1) and where
to get tokens (RFC 9728)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from identity.verifier.errors import (
    BadRequest,
    InsufficientAuthentication,
    InsufficientScope,
    NonceNeeded,
    TokenMissing,
    TokenRefused,
)

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
# RFC 6750 §2.1; what the token then is worth is for the gate to say.
_CREDENTIALS: Final = re.compile(r"([a-z]+) +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)


def credentials(authorization: Sequence[str]) -> tuple[bool, str]:
    """The token in these values of the Authorization header, and whether it came with the scheme
    DPoP (RFC 9449 §7.1) instead of Bearer.

    `TokenMissing` where there is none, or credentials of another scheme; `BadRequest` where
    there is more than one, or something that no token can be.
    """
    if not authorization:
        raise TokenMissing
    if len(authorization) > 1:
        raise BadRequest("several Authorization headers")
    value = authorization[0].strip(" \t")
    scheme = value.partition(" ")[0].lower()
    if scheme not in ("bearer", "dpop"):
        raise TokenMissing(f"credentials of scheme {scheme[:20]!a}")
    found = _CREDENTIALS.fullmatch(value)
    if found is None:
        raise BadRequest(f"no token follows {scheme}")
    return scheme == "dpop", found[2]


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """`identifier` is the resource's own address (RFC 9728 §1.2), None where it has none that
    clients could look up: then there are challenges, but no metadata."""

    identifier: str | None
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    name: str | None = None
    documentation: str | None = None
    realm: str | None = None
    dpop: tuple[str, ...] = ()
    """The algorithms of proofs that are taken; empty where tokens bound to a key are not."""
    certificates: bool = False
    """Whether tokens that are bound to a certificate are taken."""

    @classmethod
    def of(cls, audience: object, issuer: str, **more: Any) -> ProtectedResource:
        """The resource whose tokens are for `audience`, if that is an address."""
        identifier = audience if isinstance(audience, str) and is_address(audience) else None
        return cls(more.pop("identifier", None) or identifier, (issuer,), **more)

    @property
    def metadata_path(self) -> str | None:
        """The well-known name goes between host and path (RFC 9728 §3.1)."""
        if self.identifier is None:
            return None
        return WELL_KNOWN + urlsplit(self.identifier).path.rstrip("/")

    @property
    def metadata_address(self) -> str | None:
        if self.identifier is None or self.metadata_path is None:
            return None
        parts = urlsplit(self.identifier)
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{parts.netloc}{self.metadata_path}{query}"

    def metadata(self) -> dict[str, Any]:
        """RFC 9728 §2."""
        document: dict[str, Any] = {
            "resource": self.identifier,
            "authorization_servers": list(self.issuers),
            "bearer_methods_supported": ["header"],
        }
        if self.scopes:
            document["scopes_supported"] = list(self.scopes)
        if self.dpop:
            document["dpop_signing_alg_values_supported"] = list(self.dpop)
        if self.certificates:
            document["tls_client_certificate_bound_access_tokens"] = True
        if self.name:
            document["resource_name"] = self.name
        if self.documentation:
            document["resource_documentation"] = self.documentation
        return document

    def challenge(self, refused: TokenRefused, scopes: Iterable[str] = ()) -> str:
        """The value of WWW-Authenticate (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1). Who has sent
        nothing may choose the scheme."""
        parameters: dict[str, str | None] = {"realm": self.realm}
        if refused.code is not None:
            parameters |= {"error": refused.code, "error_description": refused.description}
        if isinstance(refused, InsufficientScope):
            scopes = refused.needed
        if isinstance(refused, InsufficientAuthentication):
            age = None if refused.max_age is None else str(refused.max_age)
            parameters |= {"acr_values": refused.acr, "max_age": age}
        parameters |= {
            "scope": " ".join(scopes) or None,
            "resource_metadata": self.metadata_address,
        }
        algorithms = " ".join(self.dpop) or None
        if refused.dpop and algorithms is not None:
            return _scheme("DPoP", {**parameters, "algs": algorithms})
        challenge = _scheme("Bearer", parameters)
        if isinstance(refused, TokenMissing) and algorithms is not None:
            challenge += ", " + _scheme("DPoP", {"algs": algorithms})
        return challenge

    def headers(self, refused: TokenRefused, scopes: Iterable[str] = ()) -> dict[str, str]:
        """The headers of the answer that refuses. An outage of the issuer is no challenge."""
        headers = {"Cache-Control": "no-store"}
        if refused.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(refused.retry_after)))
        if refused.status in (400, 401, 403):
            headers["WWW-Authenticate"] = self.challenge(refused, scopes)
        if isinstance(refused, NonceNeeded):
            headers["DPoP-Nonce"] = refused.nonce
        return headers


def origin_of(audience: object) -> str | None:
    """Scheme and host of an audience that is an address."""
    if not isinstance(audience, str) or not is_address(audience):
        return None
    parts = urlsplit(audience)
    return f"{parts.scheme}://{parts.netloc}"


def is_address(text: str) -> bool:
    """An https (or http) address without a fragment."""
    parts = urlsplit(text)
    return parts.scheme in ("https", "http") and bool(parts.netloc) and not parts.fragment


def _scheme(name: str, parameters: Mapping[str, str | None]) -> str:
    said = [f'{name}="{_quoted(v)}"' for name, v in parameters.items() if v is not None]
    return f"{name} {', '.join(said)}" if said else name


def _quoted(text: str) -> str:
    """A quoted-string's inside (RFC 9110 §5.6.4), nothing but visible ASCII and spaces."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
