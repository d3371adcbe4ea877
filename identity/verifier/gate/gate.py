"""The strict gate: the only way from the text of a token to `VerifiedClaims`.

Libraries ignore duplicate members, decode base64url loosely, let a token choose its algorithm or
know neither `typ` nor `crit`. So the gate reads the token itself (`rules`), and asks
`cryptography` for one thing: whether the signature is that key's (`algorithms`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from identity.verifier.gate import shortcut
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.claims import MAX_LEEWAY, SEAL, Terms, VerifiedClaims
from identity.verifier.gate.reading import HEADERS_KEPT, Policy, Reading, VerificationKey
from identity.verifier.gate.rules import BAD_SIGNATURE, RULES, Test

__all__ = ["Check", "Gate", "Refused", "VerificationKey", "VerifiedClaims"]

_TESTS = tuple((rule.name, rule.test) for rule in RULES)
_SIGNATURE = [rule.name for rule in RULES].index("signature")
_TESTS_AFTER_SIGNATURE = _TESTS[_SIGNATURE + 1 :]


class Refused(Exception):
    """The token is not good. `reason` is the name of the rule, `words` what is wrong.

    Both are for logs and the audit: whoever sent the token learns only that it is not valid.
    """

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason, words)
        self.reason = reason
        self.words = words

    def __str__(self) -> str:
        return f"{self.reason}: {self.words}" if self.words else self.reason


@dataclass(frozen=True, slots=True)
class Check:
    """One rule's outcome. `passed` is None where what it looks at could not be read."""

    name: str
    passed: bool | None
    words: str


class Gate:
    """Checks RFC 9068 access tokens of one issuer.

    `keys` finds a trusted key by `kid`; what it raises passes through. `audience` names what
    this service answers to, None accepts every well-formed audience. `leeway` is in seconds,
    at most 30; `skew` is the same for `iat` and `nbf` alone, where it is to differ, because a
    clock that is behind must not refuse what has just been issued. `clock` gives Unix time.
    ValueError where these make no sense.
    """

    def __init__(
        self,
        issuer: str,
        keys: Callable[[str], VerificationKey | None],
        audience: str | Collection[str] | None,
        algorithms: Collection[str] = tuple(ALGORITHMS),
        leeway: float = 0.0,
        clock: Callable[[], float] = time.time,
        skew: float | None = None,
    ) -> None:
        audiences = {audience} if isinstance(audience, str) else audience
        if not issuer:
            raise ValueError("a gate needs an issuer")
        if audiences is not None and (not audiences or "" in audiences):
            raise ValueError("a gate needs an audience, or None to accept every one")
        unknown = set(algorithms) - ALGORITHMS.keys()
        if unknown or not algorithms:
            raise ValueError(f"a gate knows {', '.join(ALGORITHMS)}, not {sorted(unknown)}")
        if not 0 <= leeway <= MAX_LEEWAY:
            raise ValueError(f"leeway is 0 to {MAX_LEEWAY:.0f} seconds, not {leeway}")
        if skew is not None and not 0 <= skew <= MAX_LEEWAY:
            raise ValueError(f"skew is 0 to {MAX_LEEWAY:.0f} seconds, not {skew}")
        self._clock = clock
        self._policy = Policy(
            issuer=issuer,
            keys=keys,
            audiences=None if audiences is None else frozenset(audiences),
            algorithms=frozenset(algorithms),
            leeway=float(leeway),
            skew=float(leeway if skew is None else skew),
        )

    def check(self, token: object) -> VerifiedClaims:
        """The claims of `token`, or `Refused` by the first rule that does not hold.

        Whatever `token` is, nothing else is raised.
        """
        policy, now = self._policy, self._clock()
        found = shortcut.read(policy, token, now)
        if found is None:
            return self._by_the_rules(Reading(token, now), _TESTS)
        terms, key, payload, signed, claims = found
        if claims is not None:
            return VerifiedClaims(SEAL, payload, claims, terms)
        if not signed:
            raise Refused("signature", BAD_SIGNATURE)
        reading = Reading(token, now)
        reading.key, reading.segments = key, (b"", payload, b"")
        return self._by_the_rules(reading, _TESTS_AFTER_SIGNATURE)

    def _by_the_rules(self, reading: Any, tests: tuple[tuple[str, Test], ...]) -> VerifiedClaims:
        policy = self._policy
        for name, test in tests:
            problem = test(policy, reading)
            if problem is not None:
                raise Refused(name, problem)
        key = reading.key
        terms = Terms(key.kid, key.alg, policy.leeway)
        if reading.head is not None:
            if len(policy.usual) >= HEADERS_KEPT:
                policy.usual.clear()
            policy.usual[reading.head] = terms
        return VerifiedClaims(SEAL, reading.segments[1], reading.claims, terms)

    def explain(self, token: object) -> list[Check]:
        """Every rule, in order. It goes on after a failure where there is something to look at,
        so that an expired token of an unknown key shows both; `check` accepts exactly the
        tokens for which all of these passed."""
        policy = self._policy
        reading = Reading(token, self._clock())
        checks = []
        for rule in RULES:
            if getattr(reading, rule.needs) is None:
                checks.append(Check(rule.name, None, "not reached"))
                continue
            problem = rule.test(policy, reading)
            words = problem or rule.passed.format(policy=policy, reading=reading)
            checks.append(Check(rule.name, problem is None, words))
        return checks
