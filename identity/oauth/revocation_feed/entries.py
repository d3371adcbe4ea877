"""What of the change feed a sibling must know: the revocations that a token may still run into."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any

import orjson

from identity.clock import utcnow
from identity.settings import Settings
from identity.store import Database, moment
from identity.store.positions import Row, Travelled
from identity.verifier.gate.claims import MAX_LEEWAY

KINDS = {
    "token.revoked": "token",
    "session.ended": "session",
    "user.narrowed": "subject",
    "client.revoked": "client",
    "client.narrowed": "client",
    "key.revoked": "key",
}
PAGE = 1000
LEEWAY = timedelta(seconds=MAX_LEEWAY)

_LONGEST = "SELECT max(token_ttl) FROM signing_key WHERE state <> 'next'"
TOGETHER = 100  # tokens of one query
_SNAPSHOT = f"""
SELECT c.at, c.id, %s, c.nonce, c.kind, c.ref,
       CASE c.kind WHEN 'token.revoked'
                   THEN (SELECT t.expires_at FROM revoked_token t WHERE t.jti = c.ref) END
FROM change c
WHERE (c.at, c.id) > (:at, :id) AND c.kind IN ({", ".join(f"'{kind}'" for kind in KINDS)})
ORDER BY c.at, c.id LIMIT {PAGE}"""  # noqa: S608 - words of ours
_KNOWN = "SELECT 1 FROM change WHERE %s AND nonce = :nonce"
_JTIS = ", ".join(f":r{n}" for n in range(TOGETHER))
_EXPIRES = f"SELECT jti, expires_at FROM revoked_token WHERE jti IN ({_JTIS})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Entry:
    """`token`: the `jti` is dead. `session`: every token of that `sid`. `subject`, `client`: every
    token of that `sub`, `client_id` with `iat` before `at`, rounded down to the second; in that
    second itself nobody can tell. `key`: every token of that `kid`. Forgotten after `exp`."""

    xid: int
    """The transaction that recorded it; on SQLite its `id`."""
    id: int
    exp: float
    body: bytes
    """The entry as JSON."""

    @property
    def order(self) -> tuple[int, int]:
        return self.xid, self.id

    def event(self, position: int) -> bytes:
        """As an event after which one may go on from `position`."""
        return b"event: revoked\nid: %d\ndata: %b\n\n" % (position, self.body)


async def lifetime(db: Database, settings: Settings) -> timedelta:
    """For how long a token can run into a revocation: the longest that any published key has
    signed for, by whichever process with whatever setting, and what verifiers allow for clocks."""
    ((signed,),) = await db.query(_LONGEST, {})
    return max(timedelta(seconds=signed or 0), settings.tokens.access_token_ttl) + LEEWAY


async def snapshot(db: Database, kept: timedelta) -> list[Entry]:
    """Every change that matters still, in order. Page by page: reading may happen in the event
    loop."""
    statement = _SNAPSHOT % ("c.xid::text" if db.dialect == "postgresql" else "c.id")
    found: list[Entry] = []
    values: dict[str, Any] = {"at": utcnow() - kept, "id": 2**63 - 1}
    while True:
        rows = await db.query(statement, values)
        for at, number, xid, nonce, kind, ref, expires_at in rows:
            found.append(_entry(Row(int(xid), number, nonce, kind, ref, at), kept, expires_at))
        if len(rows) < PAGE:
            return sorted(found, key=attrgetter("order"))
        values = {"at": moment(rows[-1][0]), "id": rows[-1][1]}
        await asyncio.sleep(0)


async def of_rows(db: Database, kept: timedelta, rows: Sequence[Row]) -> list[Entry]:
    """The entries for what the change feed has handed over. Raises `Unavailable`."""
    jtis = [row.ref for row in rows if row.kind == "token.revoked"]
    expires: dict[str, Any] = {}
    for some in (jtis[n : n + TOGETHER] for n in range(0, len(jtis), TOGETHER)):
        padded = some + some[-1:] * (TOGETHER - len(some))
        expires |= await db.query(_EXPIRES, {f"r{n}": jti for n, jti in enumerate(padded)})
    return [_entry(row, kept, expires.get(row.ref)) for row in rows]


async def known(db: Database, position: Travelled) -> bool:
    """Whether history goes back to `position`: its newest row is still there."""
    if db.dialect == "postgresql":
        statement, xid = _KNOWN % "xid = :xid::xid8", str(position.xid)
        values: dict[str, Any] = {"xid": xid, "nonce": position.nonce}
    else:
        statement, values = _KNOWN % "id = :id", {"id": position.xid, "nonce": position.nonce}
        if position.xid >= 2**63:
            return False
    return bool(await db.query(statement, values))


def _entry(row: Row, kept: timedelta, expires_at: Any) -> Entry:
    at = moment(row.at)
    exp = (moment(expires_at) + LEEWAY if expires_at else at + kept).timestamp()
    body = {
        "id": row.id, "kind": KINDS[row.kind], "ref": row.ref, "at": at.timestamp(), "exp": exp,
    }  # fmt: skip
    return Entry(row.xid, row.id, exp, orjson.dumps(body))
