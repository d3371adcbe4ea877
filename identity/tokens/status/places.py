"""Places for the tokens that this process issues: reserved ahead of need, handed out shuffled.

Issuing a token costs no write. Only the first token of a client here, and one that comes in a
storm, waits for a reservation.
"""

import asyncio
import math
import os
import time
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import structlog

from identity.clock import now
from identity.errors import IdentityError, Unavailable
from identity.keys.ring import KeyRing
from identity.keys.signing import Signer
from identity.settings import Settings
from identity.store import Database
from identity.store.changes import ChangeFeed
from identity.tokens.status.reserving import reserve
from identity.tokens.status.table import BLOCK, CAPACITY, path_of
from identity.verifier.gate.claims import MAX_LEEWAY

HELD = timedelta(hours=1)
"""How long a process gives away what it has reserved."""
MOST = 16  # blocks of one reservation
BUSY, IDLE = 1.0, 60.0  # seconds between reservations: twice as many next time, or one again

_log = structlog.get_logger()


class Place(NamedTuple):
    """Where a token's bit is. `signer` must sign it: its key's revocation sets the bit."""

    number: int
    """As it is stored, see `table`."""
    idx: int
    uri: str
    signer: Signer


_Whose = tuple[str | None, str]
"""An owner, and the algorithm that the audience has chosen (`KeyRing.chosen`)."""


class _Block:
    __slots__ = ("first", "left", "start", "until", "uri")

    def __init__(self, list_id: int, number: int, uri: str, until: float) -> None:
        self.uri = uri
        self.until = until
        self.start = number * BLOCK
        self.first = list_id * CAPACITY + self.start
        lots = memoryview(os.urandom(4 * BLOCK)).cast("I")
        self.left = bytearray(sorted(range(BLOCK), key=lots.__getitem__))  # offsets fit in octets


class _Pool:
    """Of one owner and algorithm; the oldest block is the last. `until`: Unix time up to which
    that is good. `low`: places left at which more are reserved."""

    __slots__ = ("blocks", "left", "low", "reserved", "signer", "size", "until")

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.blocks: list[_Block] = []
        self.left = self.low = 0
        self.size = 1
        self.until = 0.0
        self.reserved = -math.inf


class Places:
    def __init__(self, settings: Settings, db: Database, feed: ChangeFeed, ring: KeyRing) -> None:
        self._base = settings.issuer.rstrip("/")
        self._good_for = HELD + settings.tokens.access_token_ttl + timedelta(seconds=2 * MAX_LEEWAY)
        self._db = db
        self._feed = feed
        self._ring = ring
        self._pools: dict[_Whose, _Pool] = {}
        self._reserving: dict[_Whose, asyncio.Task[None]] = {}
        self._dropped = 0
        feed.listen("client", self._client_changed)

    async def take(self, owner: str | None, audience: str) -> Place:
        """A place for a token of the client `owner` itself, None for a user's.

        The caller has caught up with the change feed. Raises `Unavailable` where none can be
        reserved, `InvalidClient` where the owner has gone.
        """
        if self._ring.stale:
            await self._ring.refresh()
        chosen = self._ring.chosen(audience)
        whose = (owner, chosen)
        while True:
            pool = self._pools.get(whose)
            if (
                pool is not None
                and pool.left
                and pool.signer is self._ring.signer_of(chosen)
                and pool.until > now()
            ):
                break
            await self._more(whose)
        block = pool.blocks[-1]
        offset = block.left.pop()
        if not block.left:
            pool.blocks.pop()
            if pool.blocks:
                pool.until = pool.blocks[-1].until
        pool.left -= 1
        if pool.left == pool.low:
            self._start(whose)
        return Place(block.first + offset, block.start + offset, block.uri, pool.signer)

    async def close(self) -> None:
        if self._reserving:
            await asyncio.wait(self._reserving.values(), timeout=3)

    async def _more(self, whose: _Whose) -> None:
        await asyncio.shield(self._start(whose))

    def _start(self, whose: _Whose) -> "asyncio.Task[None]":
        task = self._reserving.get(whose)
        if task is None:
            task = self._reserving[whose] = asyncio.create_task(self._reserve(whose))
            task.add_done_callback(partial(self._done, whose))
        return task

    def _done(self, whose: _Whose, task: "asyncio.Task[None]") -> None:
        del self._reserving[whose]
        error = None if task.cancelled() else task.exception()
        # Whoever waits hears of it; who does not will ask again.
        if error is not None and not isinstance(error, IdentityError):
            _log.error("places in status lists cannot be reserved", exc_info=error)

    async def _reserve(self, whose: _Whose) -> None:
        owner, chosen = whose
        signer, dropped = self._ring.signer_of(chosen), self._dropped
        pool = self._pools.get(whose)
        if pool is None or pool.signer is not signer or pool.until <= now():
            pool = _Pool(signer)
        since = time.monotonic() - pool.reserved
        if since < BUSY:
            pool.size = min(MOST, 2 * pool.size)
        elif since > IDLE:
            pool.size = 1
        until = now() + HELD.total_seconds()
        found = await self._db.write(
            lambda session: reserve(session, owner, signer.kid, pool.size, self._good_for)
        )
        if found is None:
            await self._feed.catch_up()
            await self._ring.refresh()
            if self._ring.signer_of(chosen) is signer:
                raise Unavailable(audit=f"the key {signer.kid} signs no more")
            return
        if dropped != self._dropped:
            return  # they may be of a time before something ended: the next ones are not
        fresh = [_Block(*block, self._base + path_of(block[0]), until) for block in found]
        pool.blocks[:0] = fresh
        pool.left += len(found) * BLOCK
        pool.low = pool.left // 2
        pool.until, pool.reserved = pool.blocks[-1].until, time.monotonic()
        self._pools[whose] = pool
        self._forget_old()

    def _forget_old(self) -> None:
        moment = now()
        for whose in [whose for whose, pool in self._pools.items() if pool.until <= moment]:
            del self._pools[whose]

    def _client_changed(self, verb: str, ref: str) -> None:
        """What was reserved before a client ended or lost something ends with it."""
        if verb == "reset":
            self._pools.clear()
        elif verb in ("revoked", "narrowed"):
            for whose in [whose for whose in self._pools if whose[0] == ref]:
                del self._pools[whose]
        else:
            return
        self._dropped += 1
