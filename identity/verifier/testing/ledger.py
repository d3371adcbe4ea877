"""The revocations of an issuer in a test, and their status list, as the real service keeps them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from math import floor
from typing import Any

from identity.verifier.gate.encoding import b64url_encode
from identity.verifier.revocations.denylist import Entry

LIST_BITS = 1 << 12


class Ledger:
    """Entries in order; `lost` are ids that nobody can resume from any more."""

    def __init__(self, now: Callable[[], float], lifetime: float) -> None:
        self._now = now
        self._lifetime = lifetime
        self.entries: list[Entry] = []
        self.lost = 0
        self.minted: list[dict[str, Any]] = []
        """The claims of every token with a status, by its index."""
        self.seen: dict[str, int] = {}
        """By `jti`: the position when the token was minted."""

    @property
    def position(self) -> int:
        return self.entries[-1].id if self.entries else self.lost

    def add(self, kind: str, ref: str, at: float | None = None) -> Entry:
        now = self._now() if at is None else at
        entry = Entry(self.position + 1, kind, ref, now, now + self._lifetime)
        self.entries.append(entry)
        return entry

    def after(self, position: int) -> list[Entry] | None:
        """What came after `position`, None where that is not known: then a snapshot is due."""
        if not self.lost <= position <= self.position:
            return None
        return [entry for entry in self.entries if entry.id > position]

    def dead(self, claims: dict[str, Any]) -> bool:
        """Whether a token with these claims and its key's `kid` is revoked."""
        return any(self._hits(entry, claims) for entry in self.entries)

    def _hits(self, entry: Entry, claims: dict[str, Any]) -> bool:
        if entry.kind in ("token", "session", "key"):
            name = {"token": "jti", "session": "sid", "key": "kid"}[entry.kind]
            return bool(claims.get(name) == entry.ref)
        name = {"subject": "sub", "client": "client_id"}[entry.kind]
        if claims.get(name) != entry.ref:
            return False
        # The issuer itself knows the order within the second.
        seen = self.seen.get(str(claims.get("jti")))
        return bool(claims["iat"] < floor(entry.at) if seen is None else seen < entry.id)

    def status_list(self) -> dict[str, Any]:
        """As draft-ietf-oauth-status-list §4.2 writes it."""
        octets = bytearray(LIST_BITS // 8)
        for index, claims in enumerate(self.minted):
            if self.dead(claims):
                octets[index // 8] |= 1 << index % 8
        packed = zlib.compress(bytes(octets), 9)
        return {"bits": 1, "lst": b64url_encode(packed).decode()}


def members(entry: Entry) -> dict[str, Any]:
    """The entry's JSON."""
    return {name: getattr(entry, name) for name in ("id", "kind", "ref", "at", "exp")}
