"""What a token says once the gate has let it through."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, final

from identity.verifier.gate.encoding import b64url_decode, json_object

MAX_LEEWAY = 30.0
"""Seconds that clocks may differ, at the most."""

SEAL: Final = object()
"""What `VerifiedClaims` asks of its maker. `gate` alone imports it; a test keeps it so."""


def _audience(claims: Mapping[str, Any]) -> tuple[str, ...]:
    audience = claims["aud"]
    return (audience,) if type(audience) is str else tuple(audience)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scope = claims.get("scope")
    return frozenset(scope.split(" ") if scope else ())


def _roles(claims: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(claims.get("roles", ()))


class Terms(NamedTuple):
    """By which key, and with which leeway in seconds, the gate let a token through."""

    kid: str
    algorithm: str
    leeway: float


_put: Final = object.__setattr__
_MADE_WHEN_ASKED: Final = {"audience": _audience, "scopes": _scopes, "roles": _roles}


def expired(expires_at: float, now: float, leeway: float) -> bool:
    """RFC 7519 §4.1.4: good before that instant, not at it."""
    return now >= expires_at + leeway


def premature(not_before: float, now: float, leeway: float) -> bool:
    """RFC 7519 §4.1.5: good from that instant on."""
    return now < not_before - leeway


@final
class VerifiedClaims:
    """Claims of an access token (RFC 9068 §2.2) that passed every check of a `Gate`.

    Only the gate makes it, nothing changes it, and it cannot be pickled into another process.
    Times are Unix timestamps in seconds. Claims without an attribute are in `claims`, which is
    read-only at its top; lists and objects within it are the caller's not to change.
    Time goes on: whoever keeps this asks `valid_at` again before each use.
    """

    # What the token says is read from `claims` when asked for: setting sixteen slots on every
    # check cost more than reading its JSON. `audience`, `scopes` and `roles` are made when they are
    # first asked for, and stay.
    __slots__ = ("audience", "claims", "payload", "roles", "scopes", "terms")

    audience: tuple[str, ...]
    scopes: frozenset[str]
    roles: tuple[str, ...]
    claims: Mapping[str, Any]
    payload: bytes
    """The JSON that was signed."""
    terms: Terms

    def __init__(self, seal: object, payload: bytes, claims: dict[str, Any], terms: Terms) -> None:
        if seal is not SEAL:
            raise TypeError("only the gate makes VerifiedClaims")
        put = _put
        put(self, "claims", MappingProxyType(claims))
        put(self, "payload", payload)
        put(self, "terms", terms)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            """Only for a slot that is empty yet."""
            made = _MADE_WHEN_ASKED.get(name)
            if made is None:
                raise AttributeError(f"VerifiedClaims have no {name!r}")
            value = made(self.claims)
            object.__setattr__(self, name, value)
            return value

    @property
    def kid(self) -> str:
        return self.terms.kid

    @property
    def algorithm(self) -> str:
        return self.terms.algorithm

    @property
    def leeway(self) -> float:
        return self.terms.leeway

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])

    @property
    def subject(self) -> str:
        return str(self.claims["sub"])

    @property
    def is_client(self) -> bool:
        """Whether `subject` is a client, and no user is behind it (RFC 9068 §2.2): one that acts
        for itself, or for which another acts. Whoever keeps what is people's looks at this before
        `subject`."""
        claims = self.claims
        return "sid" not in claims and (claims["sub"] == claims["client_id"] or "act" in claims)

    @property
    def actor(self) -> str | None:
        """Who acts for the subject, where another does (RFC 8693 §4.1). `claims["act"]` has those
        before, whom nothing is to be decided by."""
        act = self.claims.get("act")
        return None if act is None else str(act["sub"])

    @property
    def client_id(self) -> str:
        return str(self.claims["client_id"])

    @property
    def token_id(self) -> str:
        """`jti`. Denylists go by this: one signature has several spellings."""
        return str(self.claims["jti"])

    @property
    def expires_at(self) -> float:
        return self.claims["exp"]  # type: ignore[no-any-return]

    @property
    def issued_at(self) -> float:
        return self.claims["iat"]  # type: ignore[no-any-return]

    @property
    def not_before(self) -> float:
        """`nbf`, or `iat` where the token has none."""
        return self.claims.get("nbf", self.claims["iat"])  # type: ignore[no-any-return]

    @property
    def session(self) -> str | None:
        return self.claims.get("sid")

    @property
    def username(self) -> str | None:
        return self.claims.get("username")

    @property
    def confirmation(self) -> Mapping[str, str] | None:
        """`cnf` (RFC 7800): what the token is bound to, `jkt` a key (RFC 9449 §6), `x5t#S256` a
        certificate (RFC 8705 §3.1). None: whoever has the token may use it."""
        return self.claims.get("cnf")

    def valid_at(self, now: float, leeway: float | None = None) -> bool:
        """Whether the token is good at `now`; `leeway` in seconds, the gate's own by default."""
        leeway = self.terms.leeway if leeway is None else leeway
        return not (
            expired(self.expires_at, now, leeway) or premature(self.not_before, now, leeway)
        )

    def __repr__(self) -> str:
        return f"<VerifiedClaims jti={self.token_id!a} sub={self.subject!a}>"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("VerifiedClaims do not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("VerifiedClaims do not change")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("VerifiedClaims has no subclasses")

    def __copy__(self) -> VerifiedClaims:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> VerifiedClaims:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("VerifiedClaims cannot be pickled: a copy would not have passed the gate")

    def keep(self) -> KeptClaims:
        """The same in a tenth of the memory, for whoever keeps thousands."""
        global _unfolded
        kept = KeptClaims(SEAL, self)
        _unfolded = kept, self
        return kept


@final
class KeptClaims:
    """`VerifiedClaims` folded up: only they make it, and nothing can be put into it. What the token
    said is read from its text again; the digest of that is kept."""

    __slots__ = ("_digest", "_terms")

    _digest: bytes
    _terms: Terms

    def __init__(self, seal: object, claims: VerifiedClaims) -> None:
        if seal is not SEAL:
            raise TypeError("only VerifiedClaims make KeptClaims")
        put = object.__setattr__
        put(self, "_digest", sha256(claims.payload).digest())
        put(self, "_terms", claims.terms)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("KeptClaims do not change")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("KeptClaims cannot be pickled: a copy would not have passed the gate")

    def says(self, claims: VerifiedClaims) -> bool:
        """Whether these are the claims that were kept, to the letter."""
        return self._digest == sha256(claims.payload).digest()

    def unfold(self, token: str) -> VerifiedClaims:
        """What was kept; `token` is the text that passed the gate, in whichever spelling of its
        signature. It says what it said; whether it is still good, `valid_at` knows. ValueError for
        any other text."""
        global _unfolded
        latest = _unfolded  # once: other threads may put theirs there
        if latest is not None and latest[0] is self:
            return latest[1]
        payload = b64url_decode(token.split(".")[1].encode())
        if sha256(payload).digest() != self._digest:
            raise ValueError("these are not the claims that were kept")
        claims = VerifiedClaims(SEAL, payload, json_object(payload), self._terms)
        _unfolded = self, claims
        return claims


_unfolded: tuple[KeptClaims, VerifiedClaims] | None = None
"""The latest: whoever asks for claims most often asks again, or has just put them away."""
