"""Verifying the issuer's access tokens. Imports nothing else of `identity` and installs alone.

    async with Verifier("https://identity.example", "https://orders.example") as verifier:
        token = await verifier.verify(text)

Names are imported when they are asked for: the service needs the gate alone, and a test plugin
that every test run loads needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from identity.verifier import namesake

if TYPE_CHECKING:
    from identity.verifier.certificates import FromProxies, FromServer
    from identity.verifier.clocks import Clock, SystemClock
    from identity.verifier.dpop import DPoP
    from identity.verifier.errors import (
        BadRequest,
        BadSignature,
        Bound,
        BoundToCertificate,
        Expired,
        InsufficientAuthentication,
        InsufficientScope,
        InvalidProof,
        IssuerUnavailable,
        Malformed,
        NonceNeeded,
        NotForUs,
        NotYetValid,
        Revoked,
        StaleKnowledge,
        TokenMissing,
        TokenRefused,
        UnknownKey,
        UnreadableCertificate,
    )
    from identity.verifier.gate.gate import Check, Gate, Refused, VerificationKey, VerifiedClaims
    from identity.verifier.revocations.denylist import Entry
    from identity.verifier.threads import SyncVerifier
    from identity.verifier.verifier import VerifiedToken, Verifier

_HOMES = {
    "certificates": ("FromProxies", "FromServer"),
    "clocks": ("Clock", "SystemClock"),
    "dpop": ("DPoP",),
    "revocations.denylist": ("Entry",),
    "errors": (
        "BadRequest",
        "BadSignature",
        "Bound",
        "BoundToCertificate",
        "Expired",
        "InsufficientAuthentication",
        "InsufficientScope",
        "InvalidProof",
        "IssuerUnavailable",
        "Malformed",
        "NonceNeeded",
        "NotForUs",
        "NotYetValid",
        "Revoked",
        "StaleKnowledge",
        "TokenMissing",
        "TokenRefused",
        "UnknownKey",
        "UnreadableCertificate",
    ),
    "gate.gate": ("Check", "Gate", "Refused", "VerificationKey", "VerifiedClaims"),
    "threads": ("SyncVerifier",),
    "verifier": ("VerifiedToken", "Verifier"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadRequest",
    "BadSignature",
    "Bound",
    "BoundToCertificate",
    "Check",
    "Clock",
    "DPoP",
    "Entry",
    "Expired",
    "FromProxies",
    "FromServer",
    "Gate",
    "InsufficientAuthentication",
    "InsufficientScope",
    "InvalidProof",
    "IssuerUnavailable",
    "Malformed",
    "NonceNeeded",
    "NotForUs",
    "NotYetValid",
    "Refused",
    "Revoked",
    "StaleKnowledge",
    "SyncVerifier",
    "SystemClock",
    "TokenMissing",
    "TokenRefused",
    "UnknownKey",
    "UnreadableCertificate",
    "VerificationKey",
    "VerifiedClaims",
    "VerifiedToken",
    "Verifier",
]


namesake.warn()


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
