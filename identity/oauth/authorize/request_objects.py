"""Request objects (RFC 9101): a whole authorization request, signed by the client.

Of the parameters around one nothing is used but `client_id`. It is good for an hour at the most, as
FAPI 2.0 Message Signing §5.3.1 demands of all: whoever signs requests has a clock.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Self

from identity.authentication import foreign
from identity.authentication.foreign import Refused
from identity.authentication.key_sets import KeySets, Source
from identity.directory.clients.consistency import FAPI2_ALGORITHMS
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidRequestObject, InvalidRequestUri
from identity.http.fetching import Fetcher, FetchFailed
from identity.oauth.authorize.request import Parameters
from identity.service.wiring import Services
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.rules import MAX_TOKEN_BYTES

TYPE = "oauth-authz-req+jwt"
LONGEST = 3600.0
"""Seconds that one may be good for."""
_OF_TOKENS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id"})
"""Claims that are no parameters, and the one that stands outside, too."""


class RequestObjects:
    def __init__(self, issuer: str, keys: KeySets, fetcher: Fetcher) -> None:
        self._issuer = issuer
        self._keys = keys
        self._fetcher = fetcher

    @classmethod
    def of(cls, services: Services) -> Self:
        return cls(services.settings.issuer, services.key_sets, services.fetcher)

    async def opened(self, text: str, client: ClientSnapshot, seen: float) -> Parameters:
        """What it asks for, judged by the time at which it was first seen. Raises
        `InvalidRequestObject`."""
        try:
            claims = await self._signed(text, client, seen)
            self._check(claims, client, seen)
            return (("client_id", client.id), *_parameters(claims))
        except Refused as refusal:
            raise InvalidRequestObject(audit=f"request object: {refusal}") from None

    async def fetched(self, uri: str, client: ClientSnapshot) -> str:
        """The text of one at a registered address. Raises `InvalidRequestUri`."""
        if uri not in client.settings.request_uris:
            raise InvalidRequestUri("request_uri is not registered for this client")
        accept = f"application/{TYPE}, application/jwt"
        try:
            found = await self._fetcher.get(
                uri, trusted=client.vouched_for, accept=accept, limit=MAX_TOKEN_BYTES
            )
        except FetchFailed as failure:
            words = "nothing of use was found at request_uri"
            raise InvalidRequestUri(words, audit=f"request_uri: {failure}") from None
        return found.body.decode("latin-1").strip()

    async def _signed(self, text: str, client: ClientSnapshot, seen: float) -> Mapping[str, Any]:
        unverified = foreign.read(
            text, seen, types=(TYPE,), algorithms=algorithms(client), subject=False
        )
        settings = client.settings
        source = Source(client.id, settings.jwks, settings.jwks_uri, trusted=client.vouched_for)
        return unverified.by(await self._keys.find(source, unverified.kid, unverified.alg))

    def _check(self, claims: Mapping[str, Any], client: ClientSnapshot, seen: float) -> None:
        if claims["iss"] != client.id or claims.get("client_id", client.id) != client.id:
            raise Refused("iss or client_id is not the client")
        if claims.get("sub") == client.id:  # RFC 9101 §10.8
            raise Refused("sub is the client: it was signed to authenticate")
        audience = claims.get("aud")
        if self._issuer not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("aud does not name this service")
        ends = foreign.check_times(claims, seen, ahead=LONGEST)
        if "nbf" not in claims:
            raise Refused("nbf is missing")
        if ends - claims["nbf"] > LONGEST:
            raise Refused(f"is good for {ends - claims['nbf']:.0f} s; {LONGEST:.0f} are the most")


def signs(client: ClientSnapshot) -> bool:
    """Whether the client could sign requests: it has keys."""
    return client.settings.jwks is not None or client.settings.jwks_uri is not None


def algorithms(client: ClientSnapshot) -> Collection[str]:
    """By which it may."""
    if (chosen := client.settings.request_object_signing_alg) is not None:
        return {chosen}
    return FAPI2_ALGORITHMS if client.settings.profile == "fapi2" else ALGORITHMS


def _parameters(claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As in an address: what is no text there is JSON, and `resource` may come several times; what
    is null is not there, as libraries write what they have no value for. Raises `Refused`."""
    found: list[tuple[str, str]] = []
    for name, value in claims.items():
        if name in _OF_TOKENS or value is None:
            continue
        if name in ("request", "request_uri"):
            raise Refused(f"holds {name}")
        values = value if name == "resource" and isinstance(value, list) else [value]
        texts = (each if isinstance(each, str) else _json(each) for each in values)
        found += [(name, text) for text in texts if text]
    if any("\0" in name or "\0" in value for name, value in found):
        raise Refused("holds a NUL character")
    return found


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
