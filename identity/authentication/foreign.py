"""The gate for what others sign: clients' and workloads' assertions, and what is like them.

The rules of the gate for our own tokens hold (`verifier.gate.rules`), but for what only our own
issuer keeps to: a header may have members that we do not know, no `kid`, and no `typ` or the one
that means nothing, `JWT`. What tells kinds of our own apart is never among them, so that nothing we
sign passes here. `crit` is refused, for we know nothing of what it could name; keys that a token
brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.

Of each kind the issuer, the audience and the algorithms are fixed before the token is read.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from identity.verifier.gate.algorithms import ALGORITHMS, Verify
from identity.verifier.gate.claims import expired, premature
from identity.verifier.gate.reading import Policy, Reading
from identity.verifier.gate.rules import LAST_SECOND, RULES

SKEW: Final = 30.0
"""Seconds by which others' clocks may differ from ours."""
LONGEST_NAME: Final = 255
"""Characters of a `jti`."""

_ANYBODY = Policy("", lambda _: None, None, frozenset(ALGORITHMS), SKEW, SKEW)
_TESTS: Final = {rule.name: rule.test for rule in RULES}
_READ: Final = tuple(_TESTS[name] for name in ("token", "segments", "header", "payload"))


class Refused(Exception):
    """`why` is one of few texts, by which the audit counts what comes by the thousand; `more` says
    it more closely, and may be whatever somebody sent. `public` is what whoever sent it hears in
    place of nothing."""

    def __init__(self, why: str, more: str | None = None, *, public: str | None = None) -> None:
        super().__init__(why if more is None else f"{why}: {more}")
        self.why = why
        self.more = more
        self.public = public


class Unverified(NamedTuple):
    """What a token says of itself. Good for nothing but to find the key that it must be by."""

    alg: str
    kid: str | None
    issuer: str
    subject: str
    reading: Any

    def by(self, verify: Verify) -> Mapping[str, Any]:
        """Its claims, if this key signed them. Raises `Refused`."""
        octets, (_, _, signature) = self.reading.octets, self.reading.segments
        try:
            good = verify(octets[: octets.rindex(b".")], signature)
        except Exception:  # whatever a backend raises, this signature is not the key's
            good = False
        if good is not True:
            raise Refused("the signature is not the key's")
        claims: Mapping[str, Any] = self.reading.claims
        return claims


def read(
    token: str,
    now: float,
    *,
    types: Collection[str] = (),
    algorithms: Collection[str] = ALGORITHMS,
    subject: bool = True,
) -> Unverified:
    """`types`: what `typ` may say beside `JWT`, in small letters. `subject`: whether it must have
    one. Raises `Refused`."""
    reading: Any = Reading(token, now)
    for test in _READ:
        if problem := test(_ANYBODY, reading):
            raise Refused("malformed", problem)
    header, claims = reading.header, reading.claims
    if taken := header.keys() & {"crit", "b64"}:
        raise Refused(f"the header has {min(taken)}, which we do not take")
    typ, alg, kid = header.get("typ", "JWT"), header.get("alg"), header.get("kid")
    if not isinstance(typ, str) or _short(typ) not in {"jwt", *types}:
        raise Refused("another kind of token", f"typ is {_quoted(typ)}")
    if not isinstance(alg, str) or alg not in algorithms:
        raise Refused("an algorithm that we do not take", f"alg is {_quoted(alg)}")
    if kid is not None and not isinstance(kid, str):
        raise Refused("kid is not a text")
    issuer, about = claims.get("iss"), claims.get("sub") if subject else "nobody"
    for name in (issuer, about):
        if not isinstance(name, str) or not name:
            raise Refused("iss or sub is missing, or not a text")
    return Unverified(alg, kid, issuer, about, reading)


def check_times(claims: Mapping[str, Any], now: float, *, ahead: float) -> float:
    """When it ends, as Unix time: at most `ahead` seconds from now. Raises `Refused`."""
    ends: Any = claims.get("exp")
    if not _is_time(ends):
        raise Refused("exp is missing, or not a time")
    if expired(ends, now, SKEW):
        raise Refused("expired", f"{now - ends:.0f} s ago")
    if ends > now + ahead + SKEW:
        raise Refused("good for too long", f"{ends - now:.0f} s; {ahead:.0f} are the most")
    for name in ("nbf", "iat"):
        if name in claims:
            if not _is_time(claims[name]):
                raise Refused(f"{name} is not a time")
            if premature(claims[name], now, SKEW):
                raise Refused(f"{name} lies ahead", f"{claims[name] - now:.0f} s")
    return float(ends)


def id_of(claims: Mapping[str, Any]) -> str:
    """Its `jti`. Raises `Refused`."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_NAME:
        raise Refused("jti is missing, or not a text of a usual length")
    return jti


def the_audience(claims: Mapping[str, Any]) -> str:
    """The one that it is for, whether alone or in a list: what is for others too could come from
    them. Raises `Refused`."""
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str):
        raise Refused("aud does not name exactly one audience")
    return audience


def _short(typ: str) -> str:
    return typ.lower().removeprefix("application/")


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= LAST_SECOND  # type: ignore[operator]


def _quoted(value: object) -> str:
    return ascii(value)[:60]
