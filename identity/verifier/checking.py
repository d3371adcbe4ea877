"""Whether a token is good, by what is known here; and the questions to the issuer where that does
not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from identity.verifier.certificates import thumbprint
from identity.verifier.clocks import Clock
from identity.verifier.errors import (
    Bound,
    BoundToCertificate,
    Expired,
    InsufficientScope,
    IssuerUnavailable,
    Revoked,
    StaleKnowledge,
    TokenRefused,
    UnknownKey,
    of_gate,
)
from identity.verifier.gate.claims import VerifiedClaims
from identity.verifier.gate.gate import Gate, Refused
from identity.verifier.gate.proofs import Proof
from identity.verifier.issuer.introspecting import Introspector
from identity.verifier.issuer.keyset import KeySet
from identity.verifier.known import Known, KnownTokens
from identity.verifier.revocations.denylist import Verdict
from identity.verifier.revocations.sources import Source

OnStale = Literal["introspect", "refuse", "accept"]


class Checking:
    """What a `Verifier` knows between two starts, and what it makes of a token with it.

    scopes      every token must have all of these
    on_stale    what to do when knowledge of revocations is too old
    hurry       has it renewed, from any thread
    """

    def __init__(
        self,
        gate: Gate,
        keys: KeySet,
        known: KnownTokens,
        source: Source,
        introspector: Introspector,
        clock: Clock,
        *,
        scopes: frozenset[str],
        on_stale: OnStale,
        hurry: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._keys = keys
        self.known = known
        self._source = source
        self._introspector = introspector
        self._now, self._monotonic = clock.now, clock.monotonic
        self._scopes = scopes
        self._on_stale = on_stale
        self._hurry = hurry

    def check(
        self,
        text: str,
        scopes: tuple[str, ...],
        proof: Proof | None,
        certificate: bytes | None,
    ) -> VerifiedClaims | None:
        """From memory alone, from any thread: None where the issuer must be asked."""
        known = self.known.get(text)
        if known is None or not self._still_good(known):
            known = self.meet(text)
            if known is None:
                return None
        return self._decide(known, scopes, proof, certificate)

    async def ask(
        self,
        text: str,
        scopes: tuple[str, ...],
        proof: Proof | None,
        certificate: bytes | None,
    ) -> VerifiedClaims:
        """Where `check` returned None."""
        known = self.known.get(text)
        if known is None or not self._still_good(known):
            known = await self._meet_with_new_keys(text)
        at = self._monotonic()
        if at >= self._keys.good_until:
            await self._keys.ask_for_unknown()
            if at >= self._keys.good_until:
                raise IssuerUnavailable(f"the issuer's keys are too old: {self._keys.failure}")
        if self._source.judge(known, at) is Verdict.UNREAD:
            await self._source.learn(known)
        claims = self._decide(known, scopes, proof, certificate)
        if claims is not None:
            return claims
        verdict = self._source.judge(known, self._monotonic())
        await self._introspect(text, known, stale=verdict is not Verdict.UNSURE)
        if self._source.denylist.judge(known) is Verdict.DEAD:
            raise Revoked(f"{known.claims!r} was revoked")
        if not self._still_good(known):
            raise Expired(f"{known.claims!r} expired meanwhile")
        if not known.claims.scopes.issuperset((*self._scopes, *scopes)):
            raise InsufficientScope(sorted(self._scopes.union(scopes)))
        return known.claims

    def _still_good(self, known: Known) -> bool:
        known.used = True
        return (
            known.good_from <= self._now() < known.good_until
            and self._keys.current.get(known.kid) is known.key
        )

    def meet(self, text: str, *, asked: bool = False) -> Known | None:
        """Through the gate; None where its key is not known and may be asked for, unless the
        caller has `asked` already."""
        keys = self._keys
        while True:
            current = keys.current
            try:
                claims = self._gate.check(text)
            except Refused as refused:
                self.known.drop(text)
                error = of_gate(refused)
                if isinstance(error, UnknownKey) and not asked and keys.may_ask():
                    return None
                if isinstance(error, UnknownKey) and keys.failure is not None:
                    raise IssuerUnavailable(f"{error}; {keys.failure}") from None
                raise error from None
            except IssuerUnavailable:
                if not asked and keys.may_ask():
                    return None
                raise
            if keys.current is current:
                break
        known = Known(claims, current[claims.kid])
        self.known.put(text, known)
        return known

    async def _meet_with_new_keys(self, text: str) -> Known:
        known = self.meet(text)
        if known is None:
            await self._keys.ask_for_unknown()
            known = self.meet(text, asked=True)
            assert known is not None
        return known

    def _decide(
        self,
        known: Known,
        scopes: tuple[str, ...],
        proof: Proof | None,
        certificate: bytes | None,
    ) -> VerifiedClaims | None:
        if known.bound is not None or proof is not None:
            _check_bound(known, proof, certificate)
        at = self._monotonic()
        if at >= self._keys.good_until:
            if self._keys.may_ask():
                return None
            raise IssuerUnavailable(f"the issuer's keys are too old: {self._keys.failure}")
        verdict = self._source.judge(known, at)
        if verdict is not Verdict.ALIVE:
            if verdict is Verdict.DEAD:
                raise Revoked(f"{known.claims!r} was revoked")
            active = self._introspector.recall(known, at)
            if active is False:
                raise Revoked(f"{known.claims!r} is not active")
            if active is None and not (verdict is Verdict.STALE and self._on_stale == "accept"):
                if verdict is Verdict.STALE and self._on_stale == "refuse":
                    raise self._stale()
                return None
        claims = known.claims
        if not self._scopes <= claims.scopes or not claims.scopes.issuperset(scopes):
            raise InsufficientScope(sorted(self._scopes.union(scopes)))
        return claims

    async def _introspect(self, text: str, known: Known, *, stale: bool) -> None:
        if stale:
            self._hurry()
        if stale and self._on_stale == "refuse":
            raise self._stale()
        if not self._introspector.able:
            if stale:
                raise self._stale()
            raise Revoked(f"{known.claims!r} cannot be told from those revoked in its minute")
        acts = self._source.denylist.last_act(known)
        try:
            active = await self._introspector.ask(text, known)
        except IssuerUnavailable as problem:
            if stale:
                raise self._stale(problem) from problem
            raise
        if not active:
            raise Revoked(f"{known.claims!r} is not active")
        known.cleared = max(known.cleared, acts)

    def _stale(self, problem: TokenRefused | None = None) -> StaleKnowledge:
        self._hurry()
        words = f"revocations of the last {self._source.staleness:.1f} s are not known"
        if problem is None:
            return StaleKnowledge(words)
        return StaleKnowledge(f"{words}; {problem}", retry_after=problem.retry_after or 1.0)


def _check_bound(known: Known, proof: Proof | None, certificate: bytes | None) -> None:
    """A token goes with the proof of its key, and with no other (RFC 9449 §7.1, §7.2), and with its
    certificate (RFC 8705 §3); one that is bound to both takes both."""
    bound = known.bound or {}
    jkt, x5t = bound.get("jkt"), bound.get("x5t#S256")
    if proof is None and jkt is not None:
        raise Bound(f"{known.claims!r} is bound to a key, and came as a bearer token")
    if proof is not None and proof.jkt != jkt:
        raise Bound(f"{known.claims!r} is not bound to the key of the proof")
    if x5t is not None and (certificate is None or thumbprint(certificate) != x5t):
        came = "none, or from none whose word counts" if certificate is None else "another one"
        raise BoundToCertificate(
            f"{known.claims!r} is bound to a certificate, and came with {came}"
        )
