"""What the issuer has taken back, in memory: asked on every request, written by the feed.

Reading takes no lock. One writer at a time; a reader in another thread sees an entry whole or
not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import floor
from typing import Any, Final, Literal

from identity.verifier.gate.claims import VerifiedClaims

Kind = Literal["token", "session", "subject", "client", "key"]
KINDS: Final = frozenset({"token", "session", "subject", "client", "key"})

GRACE: Final = 60.0
"""Seconds for which an entry outlives its `exp`: a clock that is slow, and the gate's leeway,
accept its tokens a little longer than the issuer does."""
LATE: Final = 60.0
"""Seconds from `at`, which is before the commit, in which tokens may still have been issued as if
nothing had happened: half of it for the commit, half for clocks."""
_PRUNE_EVERY: Final = 60.0


class Verdict(Enum):
    ALIVE = auto()
    DEAD = auto()
    UNSURE = auto()
    """What is known does not tell; only the issuer can."""
    STALE = auto()
    """What is known is older than its bound, or is not known at all."""
    UNREAD = auto()
    """The same, but the source has not tried to learn it yet: `Source.learn` may help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revocation. `ref` is a `jti`, `sid`, `sub`, `client_id` or `kid`, as `kind` says.

    Of a subject or client the tokens issued before `at` are dead, of those issued up to `LATE`
    seconds later only the issuer knows; of the other kinds all are dead.
    `at` and `exp` (when it can be forgotten) are Unix time.
    """

    id: int
    kind: str
    ref: str
    at: float
    exp: float

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Entry:
        """From the feed's JSON; ValueError where it is not an entry."""
        values = [members.get(name) for name in ("id", "kind", "ref", "at", "exp")]
        number, kind, ref, at, exp = values
        if type(number) is not int or type(kind) is not str or type(ref) is not str:
            raise ValueError("a revocation lacks its id, kind or ref")
        for time in (at, exp):
            if type(time) not in (int, float):
                raise ValueError("a revocation lacks its times")
        return cls(number, kind, ref, float(at), float(exp))  # type: ignore[arg-type]


def _status(status: Any) -> tuple[str, int] | None:
    """The list and the index in it (draft-ietf-oauth-status-list §6.1); None where the token
    names it badly."""
    entry = status.get("status_list") if isinstance(status, dict) else None
    if not isinstance(entry, dict):
        return None
    uri, index = entry.get("uri"), entry.get("idx")
    if type(uri) is not str or type(index) is not int or index < 0:
        return None
    return uri, index


class Subject:
    """What of a token revocations go by; read once from its claims, for they are read often."""

    __slots__ = ("cleared", "client", "issued_at", "kid", "owner", "session", "status", "token")

    def __init__(self, claims: VerifiedClaims) -> None:
        self.cleared = float("-inf")
        """The issuer has said that acts up to this time have not hit this token."""
        said = claims.claims
        self.status = _status(said["status"]) if "status" in said else None
        self.token: str = said["jti"]
        self.session: str | None = said.get("sid")
        self.owner: str = said["sub"]
        self.client: str = said["client_id"]
        self.kid = claims.kid
        self.issued_at: float = said["iat"]


class Denylist:
    """Grows by `add`, forgets what no living token can hit by `prune`."""

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self._sessions: dict[str, float] = {}
        self._keys: dict[str, float] = {}
        # ref: (at, exp)
        self._owners: dict[str, tuple[float, float]] = {}
        self._clients: dict[str, tuple[float, float]] = {}
        self._plain = {"token": self._tokens, "session": self._sessions, "key": self._keys}
        self._dated = {"subject": self._owners, "client": self._clients}
        self._empty = True
        self._pruned_at = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._plain.values())) + sum(map(len, self._dated.values()))

    def add(self, entry: Entry) -> None:
        """A kind that does not exist yet changes nothing: an older verifier cannot act on it."""
        plain = self._plain.get(entry.kind)
        if plain is not None:
            plain[entry.ref] = max(entry.exp, plain.get(entry.ref, 0.0))
            self._empty = False
        elif (dated := self._dated.get(entry.kind)) is not None:
            at, exp = dated.get(entry.ref, (0.0, 0.0))
            # The later act covers what the earlier one did.
            dated[entry.ref] = (max(at, entry.at), max(exp, entry.exp))
            self._empty = False

    def judge(self, token: Subject) -> Verdict:
        if self._empty:
            return Verdict.ALIVE
        if (
            token.token in self._tokens
            or token.session in self._sessions
            or token.kid in self._keys
        ):
            return Verdict.DEAD
        verdict = Verdict.ALIVE
        for ref, dated in ((token.owner, self._owners), (token.client, self._clients)):
            found = dated.get(ref)
            if found is None:
                continue
            at = found[0]
            # `iat` is in whole seconds: of the second of the act itself it cannot be told.
            if token.issued_at < floor(at):
                return Verdict.DEAD
            if token.issued_at <= at + LATE and at > token.cleared:
                verdict = Verdict.UNSURE
        return verdict

    def last_act(self, token: Subject) -> float:
        """When its subject or client was last revoked, as far as is known; -inf for never."""
        acts = (self._owners.get(token.owner), self._clients.get(token.client))
        return max((act[0] for act in acts if act is not None), default=float("-inf"))

    def prune(self, now: float, *, every: float = _PRUNE_EVERY) -> None:
        """Forget what is past its `exp`, unless that was done less than `every` seconds ago."""
        if 0 <= now - self._pruned_at < every:
            return
        self._pruned_at = now
        over = now - GRACE
        for plain in self._plain.values():
            for ref in [ref for ref, exp in plain.items() if exp < over]:
                plain.pop(ref, None)
        for dated in self._dated.values():
            for ref in [ref for ref, (_, exp) in dated.items() if exp < over]:
                dated.pop(ref, None)
