"""How surely, and how lately, somebody has proved who they are: `acr`, `auth_time` (RFC 9470)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LEVELS: Final = ("aal1", "aal2", "phr")
"""Ascending: one factor, two, and a way that resists phishing."""


def meets(level: str | None, wanted: str) -> bool:
    """A higher level of ours meets a lower; any other is met by itself."""
    if wanted not in LEVELS:
        return level == wanted
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)


def check(claims: Mapping[str, Any], acr: str | None, max_age: int | None, now: float) -> None:
    """Raise `InsufficientAuthentication` unless the login behind these claims is of the level
    `acr` and at most `max_age` seconds old; None asks for nothing."""
    proven_at = claims.get("auth_time")
    known = type(proven_at) in (int, float)
    lately = max_age is None or (known and int(now) - int(proven_at) <= max_age)  # type: ignore[arg-type]
    if not lately or (acr is not None and not meets(claims.get("acr"), acr)):
        from identity.verifier.errors import InsufficientAuthentication  # needs the gate's library

        raise InsufficientAuthentication(acr, max_age)
