"""Status lists as this process sees them: bits in memory that the change feed adds to.

A bit once set stays, since no place is given away twice; so keeping a list true means to look up
what the feed names, however many revocations there are. A list is read whole only when somebody
first asks this process for it.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import field
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from identity.clock import now, utcnow
from identity.dataclass import dataclass
from identity.keys.ring import KeyRing
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.tokens.status.questions import (
    ALL,
    DEAD_BLOCKS,
    LISTS,
    LIVE,
    OTHERS,
    OWNED,
    PAGE,
    SIGNED,
    TOGETHER,
    TOKENS,
)
from identity.tokens.status.table import BLOCK, CAPACITY, path_of
from identity.verifier.gate.encoding import b64url_encode

AGGREGATION = "/status-lists"
TTL = 5
"""Seconds for which others may keep a list."""
GOOD_FOR = 300  # seconds until a list that was kept must not be relied on any longer
WINDOW = 60  # seconds for which an unchanged list has one ETag
AGAIN = 0.5  # seconds between two makings of a changed list at the least
UNUSED = 120.0  # seconds after which a list is forgotten
MOST_PENDING = 20_000
LONGEST = timedelta(days=1, minutes=2)  # that a token can live

_SET = b"\xff" * (BLOCK // 8)


class SignedList(NamedTuple):
    """A status list as a JWT."""

    token: bytes
    etag: str
    """Weak, with its quotes: the same statuses, signed again, have the same for a while."""


@dataclass(slots=True)
class _Held:
    """One list. `made` and `used`: Unix time."""

    bits: bytearray = field(default_factory=lambda: bytearray(CAPACITY // 8))
    packed: bytes = b""
    """`bits` as they are published; empty: changed since."""
    document: SignedList | None = None
    kid: str = ""
    read: bool = False
    made: float = 0.0
    used: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def set(self, index: int) -> None:
        self.bits[index >> 3] |= 1 << (index & 7)
        self.packed = b""

    def set_block(self, number: int) -> None:
        start = number * BLOCK // 8
        self.bits[start : start + BLOCK // 8] = _SET
        self.packed = b""


class Lists:
    def __init__(self, settings: Settings, db: Database, feed: ChangeFeed, ring: KeyRing) -> None:
        self._issuer = settings.issuer
        self._base = settings.issuer.rstrip("/")
        self._db = db
        self._feed = feed
        self._ring = ring
        self._held: dict[int, _Held] = {}
        self._tokens: set[str] = set()
        self._others: set[str] = set()
        self._owners: dict[str, int] = {}
        self._kids: set[str] = set()
        self._learning = asyncio.Lock()
        for noun, verb, pending in (
            ("token", "revoked", self._tokens),
            ("session", "ended", self._others),
            ("user", "narrowed", self._others),
            ("key", "revoked", self._kids),
        ):
            feed.listen(noun, self._hear_of(verb, pending))
        feed.listen("client", self._hear_of_client)

    async def get(self, list_id: int) -> SignedList | None:
        """The signed list; None where no token that could be alive has a place in it.

        It shows what was committed `AGAIN` seconds before this call, mostly what was before it.
        Raises `Unavailable`.
        """
        await self._feed.catch_up()
        await self._ring.refresh()
        held = self._held.setdefault(list_id, _Held())  # from here on it hears of what comes
        held.used = now()
        if not self._fresh(held):
            async with held.lock:
                if not self._fresh(held) and not await self._make(list_id, held):
                    return None
        return held.document

    async def aggregation(self) -> list[str]:
        """The addresses of all lists (§9)."""
        rows = await self._db.query(LISTS, {"now": utcnow()})
        return [self._base + path_of(row[0]) for row in rows]

    # --- What is heard ------------------------------------------------------------------------

    def _hear_of(self, verb: str, pending: set[str]) -> Any:
        def hear(heard: str, ref: str) -> None:
            if heard == "reset":
                self._forget()
            elif heard == verb and self._held:
                pending.add(ref)
                self._bound()

        return hear

    def _hear_of_client(self, verb: str, ref: str) -> None:
        if verb == "reset":
            self._forget()
        elif verb in ("revoked", "narrowed") and self._held:
            row = self._feed.telling
            assert row is not None
            self._owners[ref] = max(row.id, self._owners.get(ref, 0))
            self._others.add(ref)
            self._bound()

    @property
    def _behind(self) -> bool:
        return bool(self._tokens or self._others or self._owners or self._kids)

    def _bound(self) -> None:
        if len(self._tokens) + len(self._others) > MOST_PENDING:
            self._forget()  # nobody has asked for long

    def _forget(self) -> None:
        self._held.clear()
        for pending in (self._tokens, self._others, self._owners, self._kids):
            pending.clear()

    # --- Bits ---------------------------------------------------------------------------------

    async def _learn(self) -> None:
        """Set the bits that the feed has named. What cannot be asked now is asked again."""
        async with self._learning:
            for statement, pending in ((TOKENS, self._tokens), (OTHERS, self._others)):
                while pending:
                    refs = list(islice(pending, TOGETHER))
                    pending.difference_update(refs)
                    padded = refs + refs[-1:] * (TOGETHER - len(refs))
                    values = {f"r{n}": ref for n, ref in enumerate(padded)}
                    try:
                        self._set(row[0] for row in await self._db.query(statement, values))
                    except BaseException:
                        pending.update(refs)
                        raise
            for kid in [*self._kids]:
                self._set_blocks(await self._db.query(SIGNED, {"kid": kid}))
                self._kids.discard(kid)
            for owner, change in [*self._owners.items()]:
                asked = {"owner": owner, "change": change}
                self._set_blocks(await self._db.query(OWNED, asked))
                if self._owners.get(owner) == change:
                    del self._owners[owner]

    def _set(self, places: Iterable[int | None]) -> None:
        for place in places:
            if place is not None and (held := self._held.get(place // CAPACITY)) is not None:
                held.set(place % CAPACITY)

    def _set_blocks(self, blocks: Iterable[Any]) -> None:
        for list_id, number in blocks:
            if (held := self._held.get(list_id)) is not None:
                held.set_block(number)

    async def _read(self, list_id: int, held: _Held) -> None:
        """Everything; whatever is heard meanwhile stays pending, and is looked up after this."""
        end = (list_id + 1) * CAPACITY
        values: dict[str, Any]
        for statement in ALL:
            after = list_id * CAPACITY - 1
            while True:
                values = {"after": after, "end": end, "page": PAGE}
                rows = await self._db.query(statement, values)
                for (place,) in rows:
                    held.set(place % CAPACITY)
                if len(rows) < PAGE:
                    break
                after = rows[-1][0]
                await asyncio.sleep(0)  # reading may happen in the event loop
        values = {"list": list_id, "horizon": utcnow() - LONGEST}
        for (number,) in await self._db.query(DEAD_BLOCKS, values):
            held.set_block(number)

    # --- Documents ----------------------------------------------------------------------------

    def _fresh(self, held: _Held) -> bool:
        age = now() - held.made
        stale = self._behind or not held.packed
        if held.document is None or held.kid != self._ring.signer.kid:
            return False
        return 0 <= age < (AGAIN if stale else TTL / 2)

    async def _make(self, list_id: int, held: _Held) -> bool:
        """Sign the list as it is now; False where there is none."""
        if not await self._db.query(LIVE, {"list": list_id, "now": utcnow()}):
            self._held.pop(list_id, None)
            return False
        if not held.read:
            await self._read(list_id, held)
            held.read = True
        await self._learn()
        made, packed = now(), held.packed
        if not packed:
            bits = bytes(held.bits)
            packed = await asyncio.to_thread(_pack, bits)
            held.packed = packed if bits == held.bits else b""
        held.document, held.kid = self._sign(list_id, packed, made)
        held.made = made
        for other in [n for n, h in self._held.items() if h.used < made - UNUSED and h is not held]:
            del self._held[other]
        return True

    def _sign(self, list_id: int, packed: bytes, made: float) -> tuple[SignedList, str]:
        signer = self._ring.signer
        uri, at = self._base + path_of(list_id), int(made)
        claims = {
            "iss": self._issuer,
            "sub": uri,
            "iat": at,
            "exp": at + GOOD_FOR,
            "ttl": TTL,
            "status_list": {
                "bits": 1,
                "lst": packed.decode("ascii"),
                "aggregation_uri": self._base + AGGREGATION,
            },
        }
        token = signer.sign(claims, typ="statuslist+jwt").encode("ascii")
        # It changes long before a kept list expires.
        same = f"{list_id} {signer.kid} {at // WINDOW} ".encode() + packed
        etag = f'W/"{hashlib.sha256(same).hexdigest()[:24]}"'
        return SignedList(token, etag), signer.kid


def _pack(bits: bytes) -> bytes:
    """§4.1 and §4.2. Level 9 would make it 2 % smaller, in five times as long: 155 ms where a
    tenth of the bits are set."""
    return b64url_encode(zlib.compress(bits, 6))
