"""An issuer within the test process: mints what is asked for, revokes, and can fail."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Collection
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey, Sign
from identity.verifier.gate.claims import MAX_LEEWAY
from identity.verifier.gate.encoding import b64url_decode, b64url_encode
from identity.verifier.revocations.feed import Feed
from identity.verifier.revocations.statuslists import StatusLists
from identity.verifier.testing.certificates import ClientCertificate
from identity.verifier.testing.clock import MovableClock
from identity.verifier.testing.ledger import LIST_BITS, Ledger
from identity.verifier.testing.proofs import ProofKey
from identity.verifier.testing.transport import IssuerTransport
from identity.verifier.threads import SyncVerifier
from identity.verifier.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = ("orders", "orders-secret")
"""The credentials of the verifiers that an issuer makes; it accepts any."""
_TTL = 900


@cache
def _key(alg: str, number: int) -> tuple[PrivateKey, Sign, dict[str, str]]:
    """Made once a process: an RSA key takes a while."""
    algorithm = ALGORITHMS[alg]
    private = algorithm.generate()
    return private, algorithm.signer(private), algorithm.jwk(private)


class Issuer:
    """`verifier(audience)` gives the real `Verifier`, which reaches this issuer in memory.

    A service that makes its own verifier is served by `serves(its_verifier)` before it starts.
    What `revoke` does is known to all of them when it returns; `clock` is theirs and ours.
    `down` is an outage: every request fails, every stream is cut. Without `prompt` verifiers
    learn of revocations and of time by the stream alone, as they do of a real issuer.
    """

    def __init__(
        self,
        url: str = "https://identity.test",
        audience: str = "https://api.test",
        *,
        algorithm: str = "ES256",
        clock: MovableClock | None = None,
        prompt: bool = True,
    ) -> None:
        self.url = url
        self.prompt = prompt
        self.audience = audience
        self.clock = clock or MovableClock()
        self.ledger = Ledger(self.clock.now, lifetime=_TTL)
        self.transport = IssuerTransport(self)
        self.verifiers: WeakSet[Verifier] = WeakSet()
        self.status_ttl = 15
        self._algorithm = algorithm
        self._down = False
        self._published: list[tuple[str, int]] = [(algorithm, 0)]
        self._numbers = itertools.count(1)
        self.clock.listen(self._tell)

    # --- Tokens --------------------------------------------------------------------------------

    def token(
        self,
        sub: str = "alice",
        scope: str | Collection[str] = "",
        *,
        expires_in: float = _TTL,
        username: str | None = None,
        roles: Collection[str] = (),
        audience: str | Collection[str] | None = None,
        session: str | None = None,
        client_id: str = "first-party",
        listed: bool = True,
        key: ProofKey | None = None,
        certificate: ClientCertificate | None = None,
        **claims: Any,
    ) -> str:
        """An access token as the service mints it (RFC 9068): a user's at the client `client_id`,
        or with that for `sub` one of a client that acts for itself.

        A negative `expires_in` is a token that expired so long ago, beyond what any leeway
        forgives. Without `listed` the token names no status list. With `key` or `certificate` it
        is bound to that one. Further `claims` win, and None leaves a claim out.
        """
        now = int(self.clock.now())
        if expires_in <= 0:
            expires_in -= MAX_LEEWAY
        issued_at = now if expires_in > 0 else int(now + expires_in) - _TTL
        payload: dict[str, Any] = {
            "iss": self.url,
            "sub": sub,
            "aud": audience if isinstance(audience, str) else list(audience or [self.audience]),
            "client_id": client_id,
            "exp": int(now + expires_in),
            "iat": issued_at,
            "nbf": issued_at,
            "jti": str(uuid.uuid4()),
            "scope": scope if isinstance(scope, str) else " ".join(scope),
        }
        if sub != client_id or session:
            payload |= {
                "sid": session or f"session-of-{sub}",
                "username": username or sub,
                "roles": list(roles),
            }
        if isinstance(payload["aud"], list) and len(payload["aud"]) == 1:
            payload["aud"] = payload["aud"][0]
        if key is not None:
            payload["cnf"] = {"jkt": key.jkt}
        if certificate is not None:
            payload["cnf"] = {**payload.get("cnf", {}), "x5t#S256": certificate.x5t}
        if listed and len(self.ledger.minted) < LIST_BITS:
            index = len(self.ledger.minted)
            payload["status"] = {"status_list": {"idx": index, "uri": self.status_list_uri}}
        payload = {k: v for k, v in {**payload, **claims}.items() if v is not None}
        self.ledger.seen[str(payload.get("jti"))] = self.ledger.position
        if "status" in payload:
            self.ledger.minted.append({**payload, "kid": self.kid})
        return self.sign(payload)

    def proof_key(self, algorithm: str = "ES256") -> ProofKey:
        """A client's key, by our clock: for tokens that are bound to it (RFC 9449)."""
        return ProofKey(algorithm, self.clock.now)

    @staticmethod
    def client_certificate(name: str = "client") -> ClientCertificate:
        """A client's certificate: for tokens that are bound to it (RFC 8705)."""
        return ClientCertificate(name)

    def sign(self, payload: dict[str, Any], typ: str = "at+jwt", **header: Any) -> str:
        """Any payload under any header, signed with the current key."""
        _, sign, jwk = _key(*self._published[-1])
        members = {"alg": jwk["alg"], "typ": typ, "kid": jwk["kid"], **header}
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (members, payload))
        signed = b".".join(b64url_encode(part) for part in parts)
        return (signed + b"." + b64url_encode(sign(signed))).decode()

    # --- Revocation ----------------------------------------------------------------------------

    def revoke(
        self,
        token: str | None = None,
        *,
        session: str | None = None,
        subject: str | None = None,
        client: str | None = None,
        key: str | None = None,
    ) -> None:
        """Take back a token, or all of a session, subject, client or key, as of now."""
        jti = None if token is None else claims_of(token)["jti"]
        wanted = {
            "token": jti,
            "session": session,
            "subject": subject,
            "client": client,
            "key": key,
        }
        for kind, ref in wanted.items():
            if ref is None:
                continue
            if kind == "key":
                self._published = [p for p in self._published if _key(*p)[2]["kid"] != ref]
                if not self._published:
                    self.rotate(keep=0)
            self.ledger.add(kind, ref)
        self._tell()
        self.transport.wake()

    # --- Keys ----------------------------------------------------------------------------------

    @property
    def kid(self) -> str:
        """Of the key that signs."""
        return _key(*self._published[-1])[2]["kid"]

    def rotate(self, *, algorithm: str | None = None, keep: int = 1) -> None:
        """Sign with a new key from now on, published without notice; `keep` old ones stay."""
        kept = self._published[len(self._published) - keep :] if keep else []
        self._published = [*kept, (algorithm or self._algorithm, next(self._numbers))]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [_key(*published)[2] for published in self._published]}

    # --- Those it serves -----------------------------------------------------------------------

    def verifier(self, audience: str | Collection[str] | None = None, **options: Any) -> Verifier:
        """A `Verifier` of this issuer; it has credentials unless `client_id=None`."""
        return Verifier(self.url, audience or self.audience, **self._options(options))

    def sync_verifier(
        self, audience: str | Collection[str] | None = None, **options: Any
    ) -> SyncVerifier:
        return SyncVerifier(self.url, audience or self.audience, **self._options(options))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        if "client_id" not in options and "token" not in options:
            options |= {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
        return {"transport": self.transport, "clock": self.clock, **options}

    def serves(self, verifier: Any) -> None:
        """Be the issuer of a `Verifier`, `SyncVerifier` or `Identity` that a service has made,
        under the address and for the audience that it expects. Before it starts."""
        while not isinstance(verifier, Verifier):
            verifier = verifier.verifier
        self.url = verifier.issuer
        wanted = verifier.audience
        self.audience = wanted if isinstance(wanted, str) else sorted(wanted)[0]
        verifier.connect_to(self.transport, self.clock)

    # --- Outages -------------------------------------------------------------------------------

    @property
    def is_down(self) -> bool:
        return self._down

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody reaches it within this block; what it revokes meanwhile is learnt after."""
        self._down = True
        self.transport.wake()
        try:
            yield
        finally:
            self._down = False
            self._tell()

    def _tell(self) -> None:
        """What a stream would have told by now, told at once: a test need not wait for it."""
        if self._down or not self.prompt:
            return
        for verifier in list(self.verifiers):
            source = verifier.source
            if source.staleness == float("inf"):
                continue  # it has learnt nothing yet, and will begin with everything
            if isinstance(source, Feed):
                for entry in self.ledger.entries:
                    if source.position is None or entry.id > source.position:
                        verifier.learn(entry)
                source.advance(self.ledger.position)
                source.proved(self.clock.monotonic())
            elif isinstance(source, StatusLists) and self.ledger.entries:
                for entry in self.ledger.entries:
                    verifier.learn(entry)

    @property
    def status_list_uri(self) -> str:
        return f"{self.url.rstrip('/')}/status-lists/1"


def claims_of(token: str) -> dict[str, Any]:
    """The payload, unverified."""
    claims: dict[str, Any] = json.loads(b64url_decode(token.split(".")[1].encode()))
    return claims
