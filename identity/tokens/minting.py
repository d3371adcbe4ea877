"""The single mint: every access token of this service is made here (RFC 9068 §2)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from identity.clock import now
from identity.keys.ring import KeyRing
from identity.opaque import new_id
from identity.settings import Settings
from identity.tokens.status.places import Place


class Login(Protocol):
    """What a token tells of its session."""

    @property
    def id(self) -> str: ...
    @property
    def authenticated_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def amr(self) -> list[str]: ...
    @property
    def acr(self) -> str | None:
        """None: of a login that an older version took."""


class Subject(NamedTuple):
    """Whom a token speaks of. For a client acting for itself its own id, and no session."""

    id: str
    username: str | None = None
    roles: Sequence[str] = ()
    session: Login | None = None


class Derived(NamedTuple):
    """What a token says besides that was got for another one (RFC 8693)."""

    jti: str
    """Its own."""
    act: Mapping[str, Any] | None
    """Who acts for the subject (§4.1); None: nobody else is said to."""
    until: float
    """Unix time: it lives no longer than the other one."""


class AccessToken(NamedTuple):
    token: str
    jti: str
    expires_in: int


class Mint:
    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._issuer = settings.issuer
        self._userinfo = userinfo_address(settings)
        self._lifetime = int(settings.tokens.access_token_ttl.total_seconds())
        self._ring = ring

    def access_token(
        self,
        subject: Subject,
        *,
        client_id: str,
        audience: str,
        scope: str,
        place: Place | None = None,
        at: float | None = None,
        userinfo: Sequence[str] = (),
        details: Sequence[Mapping[str, Any]] = (),
        derived: Derived | None = None,
        cnf: Mapping[str, str] | None = None,
        at_most: int | None = None,
    ) -> AccessToken:
        """A signed `at+jwt`, good from this second on. `userinfo`: claims that it opens there
        beside those of its scopes. `details`: RFC 9396's. `cnf`: what it is bound to (RFC 7800).
        `place`: of its status; none is only for tokens that nobody is given. `at`: Unix time of
        `iat`, now when omitted. `at_most`: seconds that its client's may live."""
        issued_at = int(now() if at is None else at)
        lifetime = self._lifetime if at_most is None else min(self._lifetime, at_most)
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": subject.id,
            "aud": self._audience(audience, scope),
            "client_id": client_id,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + lifetime,
            "jti": new_id(),
            "scope": scope,
        }
        if not scope:
            del claims["scope"]  # an empty one is not a scope (RFC 6749 §3.3)
        if subject.session is not None:
            session = subject.session
            # No token outlives its session.
            claims["exp"] = min(claims["exp"], int(session.expires_at.timestamp()))
            lifetime = max(0, claims["exp"] - issued_at)
            claims["sid"] = session.id
            claims["auth_time"] = int(session.authenticated_at.timestamp())
            claims["amr"] = session.amr
            if session.acr is not None:
                claims["acr"] = session.acr
        if subject.username is not None:
            claims["username"] = subject.username
            claims["roles"] = list(subject.roles)
        if derived is not None:
            claims["jti"] = derived.jti
            claims["exp"] = min(claims["exp"], int(derived.until))
            lifetime = max(0, claims["exp"] - issued_at)
            if derived.act is not None:
                claims["act"] = derived.act
        if cnf is not None:
            claims["cnf"] = dict(cnf)
        if userinfo:
            claims["userinfo_claims"] = list(userinfo)
        if details:
            claims["authorization_details"] = list(details)
        if place is None:
            signer = self._ring.signer_of(self._ring.chosen(audience))
        else:
            claims["status"] = {"status_list": {"idx": place.idx, "uri": place.uri}}
            signer = place.signer
        return AccessToken(signer.sign(claims), claims["jti"], lifetime)

    def _audience(self, audience: str, scope: str) -> str | list[str]:
        """A token for another resource opens `/userinfo` too, if it says who somebody is."""
        if audience == self._issuer or "openid" not in scope.split(" "):
            return audience
        return [audience, self._userinfo]


def userinfo_address(settings: Settings) -> str:
    return f"{settings.issuer.rstrip('/')}/userinfo"
