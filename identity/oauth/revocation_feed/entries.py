"""What of the change feed a sibling must know: the revocations that a token may still run into."""

from dataclasses import dataclass
from datetime import timedelta

import orjson

from identity.clock import utcnow
from identity.settings import Settings
from identity.store import Database, moment
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
_FIRST = "SELECT id FROM change WHERE at > :horizon ORDER BY at LIMIT 1"
_PAGE = f"""
SELECT c.id, c.kind, c.ref, c.at,
       CASE c.kind WHEN 'token.revoked'
                   THEN (SELECT t.expires_at FROM revoked_token t WHERE t.jti = c.ref) END
FROM change c
WHERE c.id > :after AND c.id <= :upto AND c.kind IN ({", ".join(f"'{kind}'" for kind in KINDS)})
ORDER BY c.id LIMIT {PAGE}"""  # noqa: S608 - words of ours
_KNOWN = "SELECT 1 FROM change WHERE id = :position"


@dataclass(frozen=True, slots=True)
class Entry:
    """`token`: the `jti` is dead. `session`: every token of that `sid`. `subject`, `client`: every
    token of that `sub`, `client_id` with `iat` before `at`, rounded down to the second; in that
    second itself nobody can tell. `key`: every token of that `kid`. Forgotten after `exp`."""

    id: int
    exp: float
    body: bytes
    """The entry as JSON."""

    @property
    def event(self) -> bytes:
        return b"event: revoked\nid: %d\ndata: %b\n\n" % (self.id, self.body)


async def lifetime(db: Database, settings: Settings) -> timedelta:
    """For how long a token can run into a revocation: the longest that any published key has
    signed for, by whichever process with whatever setting, and what verifiers allow for clocks."""
    ((signed,),) = await db.query(_LONGEST, {})
    return max(timedelta(seconds=signed or 0), settings.tokens.access_token_ttl) + LEEWAY


async def first(db: Database, kept: timedelta) -> int:
    """The position before the oldest change that matters still. 0: there is none."""
    rows = await db.query(_FIRST, {"horizon": utcnow() - kept})
    return rows[0][0] - 1 if rows else 0


async def page(db: Database, kept: timedelta, after: int, upto: int) -> list[Entry]:
    """The entries with ids in (`after`, `upto`], in order; `PAGE` at the most."""
    entries = []
    rows = await db.query(_PAGE, {"after": after, "upto": upto})
    for number, kind, ref, told_at, expires_at in rows:
        at = moment(told_at)
        exp = (moment(expires_at) + LEEWAY if expires_at else at + kept).timestamp()
        body = {"id": number, "kind": KINDS[kind], "ref": ref, "at": at.timestamp(), "exp": exp}
        entries.append(Entry(number, exp, orjson.dumps(body)))
    return entries


async def known(db: Database, position: int) -> bool:
    """Whether history goes back to `position`."""
    return bool(await db.query(_KNOWN, {"position": position}))
