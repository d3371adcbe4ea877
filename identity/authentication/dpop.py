"""DPoP here (RFC 9449): proofs at `/token`, to whose keys tokens are bound, and at our resources.

A proof names the address that the settings have for us, never the request's `Host`. Its `jti` is
used up last, when all else is right: whoever is nobody writes nothing.
"""

import re
from datetime import UTC, datetime
from functools import partial

from identity.authentication.once import first_use, used
from identity.clock import now
from identity.directory.clients.consistency import FAPI2_ALGORITHMS
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import (
    InvalidProof,
    InvalidRequest,
    NonceNeeded,
    TokenNonceNeeded,
    TokenProofRefused,
)
from identity.http.messages import Request
from identity.http.wire.in_a_row import Batched
from identity.keys.master import MasterKey
from identity.settings import Settings
from identity.store import Database
from identity.verifier.gate.gate import Refused
from identity.verifier.gate.proofs import Proof, Proofs
from identity.verifier.nonces import Nonces

KIND = "dpop"
MISSING = "this needs a DPoP proof"
REPLAYED = "the DPoP proof was used before"
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


def key_of_code(named: str | None, proof: Proof | None) -> str | None:
    """The key that alone may redeem a code (RFC 9449 §10): the one that `dpop_jkt` has `named`, or
    that of the proof which the client has sent along (§10.1). Raises `InvalidProof`,
    `InvalidRequest`."""
    if proof is not None:
        if named not in (None, proof.jkt):
            raise InvalidProof("dpop_jkt names another key than the proof's")
        return proof.jkt
    if named is not None and not _THUMBPRINT.fullmatch(named):
        raise InvalidRequest("dpop_jkt must be the SHA-256 thumbprint of a key (RFC 7638)")
    return named


class _NoNonce(Exception):
    """The proof needs a nonce and has none, or has one that is not ours or too old."""


class DPoP:
    """`algorithms`: as challenges name them."""

    def __init__(self, settings: Settings, db: Database, master: MasterKey) -> None:
        known = (settings.issuer, settings.certificates.mtls_address)
        self._bases = [address.rstrip("/") for address in known if address is not None]
        self._db = db
        self._proofs = Proofs(clock=now)
        self._nonces = Nonces(master.derive_all("dpop nonce"), now)
        self._nonce_required = settings.tokens.dpop_nonce_required
        self.algorithms = " ".join(self._proofs.algorithms)

    async def at_endpoint(self, request: Request, client: ClientSnapshot) -> Proof | None:
        """The proof of a request that is to get something bound to its key; None where it has
        none. Not used up before `spend`. Raises `InvalidProof`, `NonceNeeded`."""
        if request.header(b"dpop") is None:
            return None
        try:
            read = partial(self._read, request, client, None, self._asked(request))
            proof = await Batched(read)
        except Refused as refused:
            raise InvalidProof(f"the DPoP proof is not valid: {refused}") from None
        except _NoNonce:
            raise NonceNeeded(nonce=self._nonces.new()) from None
        if await used(self._db, KIND, proof.jkt, proof.jti):
            raise InvalidProof(REPLAYED)
        return proof

    async def spend(self, proof: Proof) -> None:
        """The first of all with its `jti` passes. Raises `InvalidProof`."""
        if not await self._first(proof):
            raise InvalidProof(REPLAYED)

    async def at_resource(
        self,
        request: Request,
        client: ClientSnapshot,
        token: str,
        passed_on: tuple[str, str] | None = None,
    ) -> Proof:
        """The proof of a request that brings a token of `client` along. `passed_on`: method and
        address of what a gateway was asked for. Raises `TokenProofRefused`, `TokenNonceNeeded`."""
        if request.header(b"dpop") is None:
            raise TokenProofRefused(MISSING)
        try:
            asked = self._asked(request) if passed_on is None else (passed_on[0], [passed_on[1]])
            return await Batched(partial(self._read, request, client, token, asked))
        except Refused as refused:
            raise TokenProofRefused(f"the DPoP proof is not valid: {refused}") from None
        except _NoNonce:
            raise TokenNonceNeeded(nonce=self._nonces.new()) from None

    async def spend_at_resource(self, proof: Proof) -> None:
        """Raises `TokenProofRefused`."""
        if not await self._first(proof):
            raise TokenProofRefused(REPLAYED)

    def _asked(self, request: Request) -> tuple[str, list[str]]:
        """Method and address, as they are known outside; the one may have several."""
        scope = request.scope
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        return scope["method"], [base + path for base in self._bases]

    def _read(
        self,
        request: Request,
        client: ClientSnapshot,
        token: str | None,
        asked: tuple[str, list[str]],
    ) -> Proof:
        method, addresses = asked
        proof = self._check(request.header(b"dpop"), method, addresses, token)
        if client.settings.profile == "fapi2" and proof.alg not in FAPI2_ALGORITHMS:
            raise Refused("header.alg", f"alg is not one of {', '.join(sorted(FAPI2_ALGORITHMS))}")
        if proof.nonce is None:
            if self._nonce_required:
                raise _NoNonce
        elif not self._nonces.knows(proof.nonce):
            raise _NoNonce
        return proof

    def _check(
        self, header: bytes | None, method: str, addresses: list[str], token: str | None
    ) -> Proof:
        first, *others = addresses
        try:
            return self._proofs.check(header, method, first, token)
        except Refused as refused:
            if refused.reason != "htu" or not others:
                raise
        return self._check(header, method, others, token)

    async def _first(self, proof: Proof) -> bool:
        until = datetime.fromtimestamp(proof.until, UTC)
        return await first_use(self._db, KIND, proof.jkt, proof.jti, until=until)
