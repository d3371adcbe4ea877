"""The signing keys as this process sees them: what signs, what verifies, what is published.

Built from the database and kept. Whoever answers from it first awaits `feed.catch_up()`, then
`refresh()`: a key revoked anywhere is gone here before the next answer.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson
from sqlmodel import Session, col, select

from identity.dataclass import dataclass
from identity.errors import Unavailable
from identity.keys.master import MasterKey
from identity.keys.material import unseal
from identity.keys.signing import Signer
from identity.keys.table import PUBLISHED, SigningKey
from identity.settings import SettingsError
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import b64url_encode
from identity.verifier.gate.gate import VerificationKey


@dataclass(frozen=True)
class _View:
    """The ring at one instant; replaced as a whole."""

    signers: dict[str, Signer]
    """By what they serve; "" is what chose no algorithm."""
    verifying: dict[str, VerificationKey]
    former: dict[str, VerificationKey]
    """Published no more."""
    algorithms: frozenset[str]
    """Of the signers."""
    jwks: bytes
    etag: str
    why_not: str = "no signing key is active"


def _known(session: Session) -> Sequence[SigningKey]:
    query = select(SigningKey).where(col(SigningKey.state).in_(PUBLISHED))
    return session.exec(query.order_by(col(SigningKey.created_at), col(SigningKey.kid))).all()


class KeyRing:
    """One a process, made in the event loop's thread. Call `refresh()` before its first use."""

    def __init__(
        self,
        db: Database,
        feed: ChangeFeed,
        master: MasterKey,
        algorithms: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`algorithms` by audience, for those that chose one."""
        self._algorithms = algorithms
        self._db = db
        self._master = master
        self._lock = asyncio.Lock()
        # Counters instead of a flag: a change that is heard while rows are being read asks
        # for another look, and a reader never waits for more than it has heard of itself.
        self._heard = 1
        self._seen = 0
        self._view = _view([], {}, {}, master)
        feed.listen("key", self._hear)

    def _hear(self, verb: str, ref: str) -> None:
        self._heard += 1

    @property
    def stale(self) -> bool:
        """Whether `refresh()` would read; a busy path may skip the call."""
        return self._seen != self._heard

    async def refresh(self) -> None:
        """Return once the ring reflects every change heard of before the call.

        Raises `Unavailable` when the database cannot be asked; the ring then stays as it was.
        """
        wanted = self._heard
        if self._seen >= wanted:
            return
        async with self._lock:
            if self._seen >= wanted:
                return
            heard = self._heard
            self._use(await self._db.read(_known))
            self._seen = heard

    def load(self, session: Session) -> None:
        """The same for synchronous callers (command line)."""
        heard = self._heard
        self._use(_known(session))
        self._seen = heard

    def _use(self, rows: Sequence[SigningKey]) -> None:
        view = self._view
        kept = view.verifying | view.former
        self._view = _view(rows, view.signers, kept, self._master)

    @property
    def signer(self) -> Signer:
        """The active key of what chose no algorithm. `Unavailable` where there is none that this
        process can use."""
        signer = self._view.signers.get("")
        if signer is None:
            raise Unavailable(detail="No signing key can be used", audit=self._view.why_not)
        return signer

    def chosen(self, audience: str) -> str:
        """The algorithm that `audience` has chosen, "" where it has chosen none."""
        return self._algorithms.get(audience, "")

    def signer_of(self, chosen: str) -> Signer:
        """The active key of that algorithm. Where nobody chose it, or verifiers do not know its
        key yet, `signer`."""
        return self._view.signers.get(chosen) or self.signer

    def signer_by(self, algorithm: str) -> Signer | None:
        """The active key that signs by `algorithm`, whatever it serves; None where there is none
        that verifiers know already."""
        for signer in self._view.signers.values():
            if signer.algorithm == algorithm:
                return signer
        return None

    @property
    def algorithms(self) -> frozenset[str]:
        """Those for which `signer_by` has a key."""
        return self._view.algorithms

    def find(self, kid: str) -> VerificationKey | None:
        """The published key `kid`, for the gate."""
        return self._view.verifying.get(kid)

    def find_former(self, kid: str) -> VerificationKey | None:
        """The key `kid`, published or not any more: for what says who somebody was, and opens
        nothing."""
        return self._view.verifying.get(kid) or self._view.former.get(kid)

    @property
    def jwks(self) -> bytes:
        """The key set (RFC 7517 §5) as it is sent. It answers even when nothing else can."""
        return self._view.jwks

    @property
    def jwks_etag(self) -> str:
        """The strong entity tag of `jwks`, with its quotes (RFC 9110 §8.8.3)."""
        return self._view.etag


def _view(
    rows: Sequence[SigningKey],
    signers: dict[str, Signer],
    verifying: dict[str, VerificationKey],
    master: MasterKey,
) -> _View:
    """Key objects that `signers` and `verifying` already hold stay: a kid is a thumbprint."""
    published = [row for row in rows if row.withdrawn_at is None]
    jwks = orjson.dumps({"keys": [row.public for row in published]})
    etag = '"' + b64url_encode(hashlib.sha256(jwks).digest()[:18]).decode() + '"'
    found, former = (
        {row.kid: _verification_key(row, verifying.get(row.kid)) for row in some}
        for some in (published, [row for row in rows if row.withdrawn_at is not None])
    )
    signing: dict[str, Signer] = {}
    why_not = _View.why_not
    for row in rows:
        if row.state != "active":
            continue
        try:
            signing[row.serves] = _signer(row, signers.get(row.serves), master)
        except SettingsError as error:  # others' tokens still verify
            why_not = str(error)
    by = frozenset(signer.algorithm for signer in signing.values())
    return _View(signing, found, former, by, jwks, etag, why_not)


def _signer(row: SigningKey, kept: Signer | None, master: MasterKey) -> Signer:
    if kept is not None and kept.kid == row.kid and kept.algorithm == row.algorithm:
        return kept
    return Signer(row.kid, row.algorithm, unseal(row, master))


def _verification_key(row: SigningKey, kept: VerificationKey | None) -> VerificationKey:
    if kept is not None and kept.alg == row.algorithm:
        return kept
    public: dict[str, Any] = row.public
    return VerificationKey(row.kid, row.algorithm, ALGORITHMS[row.algorithm].verifier(public))
