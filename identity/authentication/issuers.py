"""What trusted issuers say: of a program that asks, or of a user."""

from collections.abc import Mapping
from typing import Any, Final

from identity.authentication import foreign
from identity.authentication.foreign import Refused, Unverified
from identity.authentication.key_sets import KeySets, Source
from identity.clock import now
from identity.directory.issuers.registry import Issuers, IssuerSnapshot

DAY: Final = 86400.0
FOR_GOOD: Final = 1e12


class TrustedIssuers:
    """`issuer`: ours. The caller has awaited `feed.catch_up()`."""

    def __init__(self, issuers: Issuers, keys: KeySets, *, issuer: str) -> None:
        self._issuers = issuers
        self._keys = keys
        self._issuer = issuer

    async def get(self, name: str) -> IssuerSnapshot:
        """Raises `Refused`."""
        found = self._issuers.at_hand(name) or await self._issuers.get(name)
        if found is None:
            raise Refused("its issuer is none that we trust")
        if not found.active:
            raise Refused("its issuer is disabled")
        return found

    async def claims(
        self, issuer: IssuerSnapshot, assertion: Unverified, *, ahead: float
    ) -> Mapping[str, Any]:
        """What it says for us, now, and for `ahead` seconds more at the most. Raises `Refused`."""
        claims = await self._signed(issuer, assertion)
        self._check_audience(issuer, claims)
        foreign.check_times(claims, now(), ahead=ahead)
        return claims

    async def statement(self, issuer: IssuerSnapshot, assertion: Unverified) -> Mapping[str, Any]:
        """What it says of a program, wherever that goes, and for as long as it likes: `aud` and
        `exp` may be missing (RFC 7591 §2.3). Raises `Refused`."""
        claims = await self._signed(issuer, assertion)
        if "aud" in claims:
            self._check_audience(issuer, claims)
        moment = now()
        foreign.check_times({"exp": moment, **claims}, moment, ahead=FOR_GOOD)
        return claims

    async def _signed(self, issuer: IssuerSnapshot, assertion: Unverified) -> Mapping[str, Any]:
        published = issuer.jwks is None and issuer.jwks_uri is None
        source = Source(issuer.issuer, issuer.jwks, issuer.jwks_uri, published=published)
        return assertion.by(await self._keys.find(source, assertion.kid, assertion.alg))

    def _check_audience(self, issuer: IssuerSnapshot, claims: Mapping[str, Any]) -> None:
        audience = issuer.audience or self._issuer
        if foreign.the_audience(claims) != audience:
            raise Refused(f"aud is not {audience}")
