"""The public keys of others: those that are registered, or those at an address (RFC 7517 §5)."""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from identity.authentication.foreign import Refused
from identity.clock import now
from identity.http.fetching import Fetched, Fetcher, FetchFailed
from identity.verifier.gate.algorithms import ALGORITHMS, Verify
from identity.verifier.gate.encoding import json_object
from identity.verifier.gate.jwk import thumbprint

ACCEPT: Final = "application/jwk-set+json, application/json"
METADATA: Final = "/.well-known/openid-configuration"
MOST_KEYS: Final = 64
COOLDOWN: Final = 30.0
"""Seconds between two looks for keys that were not there: anybody may invent a `kid`."""
HONOURED: Final = 3600.0
"""Seconds for which keys are used on while their address does not answer."""
PAUSE: Final = 5.0
"""Seconds for which an address that gave none is left alone."""
KEPT: Final = 2000

T = TypeVar("T")


class Source(NamedTuple):
    """Whose keys, and where they are: registered, at `uri`, or where the metadata of the issuer
    `owner` say. `trusted`: an administrator registered that."""

    owner: str
    jwks: Mapping[str, Any] | None
    uri: str | None
    trusted: bool = True
    published: bool = False
    """It has metadata (OpenID Connect Discovery §4)."""


class KeySet:
    """Keys as somebody published them. What is no key for signatures of ours is passed over."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        keys = jwks.get("keys")
        if not isinstance(keys, list) or len(keys) > MOST_KEYS:
            raise Refused(f"the key set has no list of at most {MOST_KEYS} keys")
        self._keys = [key for key in keys if isinstance(key, dict)]
        self._built: dict[tuple[int, str], Verify | None] = {}

    def find(self, kid: str | None, alg: str) -> Verify | None:
        """What verifies by the key of this name, without one by the only key that fits; None where
        there is none. Raises `Refused` where several could be meant."""
        fitting = [
            verify
            for n, key in enumerate(self._keys)
            if (kid is None or key.get("kid") == kid) and (verify := self._verifier(n, alg))
        ]
        if len(fitting) > 1:
            raise Refused("several keys fit, and kid does not say which")
        return fitting[0] if fitting else None

    def has_certificate(self, der: bytes, public_key: Any) -> bool:
        """Whether a key of the set comes with this certificate (RFC 7517 §4.7), or comes with none
        and is the one that it is for."""
        spelled, names = b64encode(der).decode(), _names(public_key)
        for n, key in enumerate(self._keys):
            if "x5c" in key:
                chain = key["x5c"]
                if isinstance(chain, list) and chain[:1] == [spelled]:
                    return True
            elif any(self._verifier(n, alg) and thumbprint(key) == names[alg] for alg in names):
                return True
        return False

    def _verifier(self, n: int, alg: str) -> Verify | None:
        if (n, alg) not in self._built:
            try:
                self._built[n, alg] = ALGORITHMS[alg].verifier(self._keys[n])
            except (ValueError, TypeError):
                self._built[n, alg] = None
        return self._built[n, alg]


class KeySets:
    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._registered: OrderedDict[str, tuple[Mapping[str, Any], KeySet]] = OrderedDict()
        self._fetched: OrderedDict[tuple[str, bool], _Fetched] = OrderedDict()

    async def find(self, source: Source, kid: str | None, alg: str) -> Verify:
        """The key of `source` that this header names. Raises `Refused`.

        An address is asked once more for a key that it did not have, though not all the time."""
        verify = await self._among(source, lambda keys: keys.find(kid, alg))
        if verify is None:
            raise Refused("no key of theirs is the one that signed")
        return verify

    async def find_certificate(self, source: Source, der: bytes, public_key: Any) -> None:
        """That a certificate is one of `source`, or for a key of it. Raises `Refused`."""
        if not await self._among(source, lambda keys: keys.has_certificate(der, public_key)):
            raise Refused("no key of theirs is the certificate's")

    async def _among(self, source: Source, look: Callable[[KeySet], T]) -> T:
        if source.jwks is not None:
            return look(self._registered_of(source))
        kept = self._kept(source)
        found = look(await self._current(source, kept))
        if not found and now() - kept.asked_again >= COOLDOWN:
            kept.asked_again = now()
            found = look(await self._current(source, kept, fresh=True))
        return found

    async def _current(self, source: Source, kept: "_Fetched", *, fresh: bool = False) -> KeySet:
        if kept.failure is None or now() - kept.failed_at >= PAUSE:
            # What was no key set may be kept as an answer: it is not asked for again.
            fresh = fresh or kept.failure is not None
            try:
                uri = source.uri or await self._published_at(source, fresh=fresh)
                get = self._fetcher.get
                kept.take(await get(uri, trusted=source.trusted, accept=ACCEPT, fresh=fresh))
            except (FetchFailed, ValueError, Refused) as failure:
                kept.failure, kept.failed_at = str(failure), now()
        if kept.keys is None or (kept.failure and now() - kept.good_at > HONOURED):
            raise Refused("their keys cannot be had", kept.failure)
        return kept.keys

    async def _published_at(self, source: Source, *, fresh: bool) -> str:
        if not source.published:
            raise Refused("there are none registered")
        address = source.owner.rstrip("/") + METADATA
        answer = await self._fetcher.get(address, trusted=source.trusted, fresh=fresh)
        metadata = json_object(answer.body)
        # Else whoever answers there could speak for another (OpenID Connect Discovery §4.3).
        if metadata.get("issuer") != source.owner:
            raise Refused("the issuer's metadata are another's")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise Refused("the issuer's metadata have no jwks_uri")
        return uri

    def _registered_of(self, source: Source) -> KeySet:
        jwks, keys = self._registered.get(source.owner, (None, None))
        if keys is None or jwks is not source.jwks:
            jwks = source.jwks or {"keys": []}
            keys = KeySet(jwks)
            self._registered[source.owner] = jwks, keys
            _bound(self._registered)
        return keys

    def _kept(self, source: Source) -> "_Fetched":
        where = (source.uri or source.owner, source.trusted)
        kept = self._fetched.setdefault(where, _Fetched())
        _bound(self._fetched)
        return kept


class _Fetched:
    """What is known of an address."""

    answer: Fetched | None = None
    keys: KeySet | None = None
    good_at = 0.0
    """When it last had keys for us."""
    failure: str | None = None
    failed_at = 0.0
    asked_again = float("-inf")

    def take(self, answer: Fetched) -> None:
        """Raises `ValueError` or `Refused` where it is no key set."""
        if answer is not self.answer:
            self.keys = KeySet(json_object(answer.body))
            self.answer = answer
        self.good_at, self.failure = now(), None


def _names(public_key: Any) -> dict[str, str]:
    """The thumbprint of a public key, by the algorithms that it is for."""
    names = {}
    for alg, algorithm in ALGORITHMS.items():
        try:
            names[alg] = algorithm.jwk(public_key)["kid"]
        except ValueError:
            continue
    return names


def _bound(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > KEPT:
        kept.popitem(last=False)
