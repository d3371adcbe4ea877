"""Who follows the revocations, and which keys they say they have: a new key waits for them
(docs/decisions/0071-rotation-waits-for-who-follows.md).

What a request says is kept in memory, and written by a chore: of one follower once a minute at the
most, however often it asks. Who says nothing, as versions before do, counts by the time that every
key set may be cached (`transitions.lead`), and so does whoever was not seen for `SEEN`.

Times in the table are the database's, and ages in a process go by a clock that nobody sets.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import case
from sqlmodel import Session, col

from identity.dataclass import dataclass
from identity.keys.ring import KeyRing
from identity.keys.table import KeyFollower
from identity.keys.uptake import SEEN, held_back
from identity.store import SOME, Database
from identity.store.moments import database_time
from identity.store.rows import insert_on_conflict

AGAIN = 60.0
"""Seconds between two writes about one follower, at the least."""
STILL_HERE = 300.0
"""Seconds after which one that has nothing new to say is written down again."""
STEP = 30.0
"""Seconds by which the database's clock moves when it was set, and did not just go on."""
MOST = 20_000
"""Followers that a process remembers by name; those beyond count as if they said nothing."""
OF_A_CLIENT = MOST // 2
"""Of these, so many of one client: by names that it makes up it silences nobody else."""

_NAME = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LONGEST = 4096  # octets of kids
_log = structlog.get_logger()


@dataclass(slots=True)
class Follower:
    """As this process knows it. Times are `monotonic`."""

    client: str
    name: str
    kids: str | None
    told: float
    """When it said so."""
    heard: float
    streams: int = 0
    changed: bool = True
    """It has said something else than was written."""
    written: float = float("-inf")

    @property
    def id(self) -> str:
        return f"{self.name}@{self.client}"

    def seen(self, moment: float) -> float:
        return moment if self.streams else self.heard

    def due(self, moment: float) -> bool:
        age = moment - self.written
        if self.changed:
            return age >= AGAIN
        return age >= STILL_HERE and self.seen(moment) > self.written


class Followers:
    """One a process. `missing`: followers without a key that waits for nobody else."""

    def __init__(
        self, db: Database, ring: KeyRing, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = db
        self._ring = ring
        self._monotonic = monotonic
        self._known: dict[str, Follower] = {}
        self._of: Counter[str] = Counter()  # those of each client
        self._offset: float | None = None
        self.missing = 0

    def __len__(self) -> int:
        return len(self._known)

    def heard(self, client: str, name: bytes | None, kids: bytes | None) -> Follower:
        """`client` asks, which has shown that it is that; the rest is its own word. Call it when
        the ring is up to date."""
        moment = self._monotonic()
        said = self._sane(kids)
        if said is None or name is None or not _NAME.fullmatch(name):
            name, said = b"", None
        key = f"{name.decode()}@{client}"
        known = self._known.get(key)
        if known is None and (len(self._known) >= MOST or self._of[client] >= OF_A_CLIENT):
            name, said, key = b"", None, f"@{client}"
            known = self._known.get(key)
        if known is None:
            known = self._known[key] = Follower(client, name.decode(), said, moment, moment)
            self._of[client] += 1
        known.heard = moment
        if known.kids != said:
            known.kids, known.changed, known.told = said, True, moment
        return known

    def left(self, follower: Follower) -> None:
        """One of its streams has ended; it may come back."""
        follower.streams -= 1
        follower.heard = self._monotonic()

    def _sane(self, kids: bytes | None) -> str | None:
        """Of what it says only what is one of our keys: so few and short texts are kept."""
        if kids is None or len(kids) > _LONGEST:
            return None
        ours = (self._ring.find(kid) for kid in kids.decode("latin-1").split())
        return " ".join(sorted({key.kid for key in ours if key is not None}))

    async def write(self) -> None:
        """Write down who came, who has something new to say and who is still here. Raises
        `Unavailable`; what was not written is tried again."""
        if self._known:
            await self._look_at_clock()
        moment = self._monotonic()
        hour = SEEN.total_seconds()
        for key, known in [*self._known.items()]:
            if moment - known.seen(moment) > hour:
                del self._known[key]
                self._of[known.client] -= 1
        self._of = +self._of
        due = sorted((f for f in self._known.values() if f.due(moment)), key=lambda f: f.id)
        for n in range(0, len(due), SOME):
            some = due[n : n + SOME]
            for each in some:
                each.changed = False
            try:
                await self._db.write(partial(_write, some=some, moment=moment))
            except BaseException:
                for each in some:
                    each.changed = True
                raise
            for each in some:
                each.written = moment
        await self._see_who_is_missing()

    async def _look_at_clock(self) -> None:
        """Where it was set, everybody's row is old, or new, without a reason: say anew who is
        here."""
        offset = (await self._db.read(database_time)).timestamp() - self._monotonic()
        before, self._offset = self._offset, offset
        if before is not None and abs(offset - before) > STEP:
            for known in self._known.values():
                if known.streams:
                    known.written = float("-inf")

    async def _see_who_is_missing(self) -> None:
        found = await self._db.read(held_back)
        missing = max((each.missing for each in found.values()), default=0)
        if missing and not self.missing:
            for kid, each in found.items():
                _log.warning(
                    "signing key held back", kid=kid, missing=each.missing,
                    clients=sorted({one.client_id for one in each.who}),
                )  # fmt: skip
        self.missing = missing


def _write(session: Session, some: Sequence[Follower], moment: float) -> None:
    now = database_time(session)

    def at(then: float) -> datetime:
        return now - timedelta(seconds=max(0.0, moment - then))

    rows = [
        {
            "id": each.id, "client_id": each.client, "name": each.name, "kids": each.kids,
            "told_at": at(each.told), "seen_at": at(each.seen(moment)),
        }
        for each in some
    ]  # fmt: skip
    insert = insert_on_conflict(session, KeyFollower)
    new = insert.excluded
    # What was said later counts, at whichever process; and what cannot have been yet does not.
    later = (new.told_at > KeyFollower.told_at) | (col(KeyFollower.told_at) > now)
    seen = (new.seen_at > KeyFollower.seen_at) | (col(KeyFollower.seen_at) > now)
    news = later & col(KeyFollower.kids).is_distinct_from(new.kids)
    long_ago = col(KeyFollower.seen_at) < now - timedelta(seconds=AGAIN)
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["id"],
            set_={
                "kids": case((later, new.kids), else_=KeyFollower.kids),
                "told_at": case((later, new.told_at), else_=KeyFollower.told_at),
                "seen_at": case((seen, new.seen_at), else_=KeyFollower.seen_at),
            },
            where=news | (seen & (long_ago | (col(KeyFollower.seen_at) > now))),
        ),
        rows,
    )
