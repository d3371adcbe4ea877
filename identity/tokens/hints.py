"""`id_token_hint`: an ID token of ours that comes back, to say whom somebody means (OpenID Connect
Core §3.1.2.1, RP-Initiated Logout §2).

It goes through the rules of the gate for access tokens, but for those that tell the kinds apart:
`typ` is that of ID tokens, and it may have expired, for it proves who was signed in, not that they
are. So may the key that signed it, for as long as a session of its time may last.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from identity.keys.ring import KeyRing
from identity.tokens.id_tokens import TYPE
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.claims import MAX_LEEWAY
from identity.verifier.gate.reading import Policy, Reading, VerificationKey
from identity.verifier.gate.rules import RULES

_SHARED = (
    "token", "segments", "header", "header.members", "header.alg", "header.kid", "key.alg",
    "signature", "payload", "iss", "aud", "iat", "sub", "sid",
)  # fmt: skip
_TESTS = [rule.test for rule in RULES if rule.name in _SHARED]


class Hint(NamedTuple):
    subject: str
    client_id: str
    """The audience that it was issued to."""
    session_id: str


class Hints:
    """`clock`: Unix time."""

    def __init__(self, issuer: str, ring: KeyRing, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ring = ring
        keys: Callable[[str], VerificationKey | None] = ring.find_former
        self._policy = Policy(issuer, keys, None, frozenset(ALGORITHMS), 0.0, MAX_LEEWAY)

    async def read(self, token: str) -> Hint | None:
        """None where it is no ID token of ours. The caller has awaited `feed.catch_up()`."""
        await self._ring.refresh()
        reading: Any = Reading(token, self._clock())
        for test in _TESTS:
            if test(self._policy, reading) is not None:
                return None
        claims = reading.claims
        if reading.header["typ"] != TYPE or "exp" not in claims or "auth_time" not in claims:
            return None
        audience, session_id = claims["aud"], claims.get("sid")
        if not isinstance(audience, str) or session_id is None:
            return None
        return Hint(claims["sub"], audience, session_id)
