"""Clients that prove themselves by what they, or a platform that we trust, have signed (RFC 7523).

`private_key_jwt`: the client signs, for this one request. `workload_identity`: whoever runs the
program, such as a Kubernetes cluster, says which program it is, to whoever asks for as long as the
token is good; so that may come again.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from identity.authentication import foreign, once
from identity.authentication.foreign import Refused, Unverified
from identity.authentication.issuers import DAY, TrustedIssuers
from identity.authentication.key_sets import KeySets, Source
from identity.clock import now
from identity.directory.clients.consistency import FAPI2_ALGORITHMS
from identity.directory.clients.registry import ClientSnapshot
from identity.http.wire.in_a_row import Batched
from identity.store import Database
from identity.verifier.gate.algorithms import ALGORITHMS

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPES: Final = ("client-authentication+jwt", "jose")
"""What `typ` may say where it does not say `JWT` (draft-ietf-oauth-rfc7523bis, JWT-SVID §2.3)."""
LONGEST: Final = 300.0
"""Seconds that an assertion may be good for: it is made for one request."""


class Assertions:
    """`issuer` and `token_endpoint`: what an assertion may be meant for."""

    def __init__(
        self,
        db: Database,
        keys: KeySets,
        issuers: TrustedIssuers,
        *,
        issuer: str,
        token_endpoint: str,
    ) -> None:
        self._db = db
        self._keys = keys
        self._issuers = issuers
        self._audiences = {"issuer": issuer, "token_endpoint": token_endpoint}
        self._by_method = {
            "private_key_jwt": self._private_key_jwt,
            "workload_identity": self._workload_identity,
        }

    async def prove(self, client: ClientSnapshot, assertion: Unverified) -> None:
        """Raises `Refused`."""
        method = client.settings.token_endpoint_auth_method
        prove = self._by_method.get(method or "")
        if prove is None:
            raise Refused(f"by an assertion instead of {method or 'a secret'}")
        await prove(client, assertion)

    async def _private_key_jwt(self, client: ClientSnapshot, assertion: Unverified) -> None:
        """The client made it, for us, now and for the first time."""
        if assertion.issuer != client.id or assertion.subject != client.id:
            raise Refused("iss and sub are not both the client's id")
        claims = await self._signed(client, assertion)
        try:
            await self._check(client, claims)
        except Refused as refusal:  # who holds the key may hear what is wrong
            refusal.public = f"the assertion is not good: {refusal}"
            raise

    async def _check(self, client: ClientSnapshot, claims: Mapping[str, Any]) -> None:
        audience = self._audiences[client.settings.assertion_audience]
        # One text (RFC 7523bis §4): what names several could be passed on by one of them.
        if claims.get("aud") != audience:
            raise Refused(f"aud is not {audience}")
        ends = foreign.check_times(claims, now(), ahead=LONGEST)
        jti = foreign.id_of(claims)
        until = datetime.fromtimestamp(ends + foreign.SKEW, UTC)
        if not await once.first_use(self._db, "client_assertion", client.id, jti, until=until):
            raise Refused("replayed: its jti has been used")

    async def _workload_identity(self, client: ClientSnapshot, assertion: Unverified) -> None:
        """A trusted issuer says of the program that asks that it is the one bound to the client."""
        if client.settings.workloads.get(assertion.issuer) != assertion.subject:
            raise Refused("the client is not bound to this issuer and subject")
        issuer = await self._issuers.get(assertion.issuer)
        await self._issuers.claims(issuer, assertion, ahead=DAY)

    async def _signed(self, client: ClientSnapshot, assertion: Unverified) -> Mapping[str, Any]:
        if assertion.alg not in algorithms(client):
            raise Refused(f"by {assertion.alg}, for which the client is not registered")
        settings = client.settings
        source = Source(client.id, settings.jwks, settings.jwks_uri, trusted=client.vouched_for)
        verify = await self._keys.find(source, assertion.kid, assertion.alg)
        return await Batched(partial(assertion.by, verify))


def read(text: str) -> Unverified:
    """Raises `Refused`."""
    return foreign.read(text, now(), types=TYPES)


def algorithms(client: ClientSnapshot) -> Collection[str]:
    """By which the client may sign who it is."""
    if (chosen := client.settings.token_endpoint_auth_signing_alg) is not None:
        return {chosen}
    return FAPI2_ALGORITHMS if client.settings.profile == "fapi2" else ALGORITHMS
