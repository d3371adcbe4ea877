"""What of the change feed a sibling must know: the revocations that a token may still run into."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import String, bindparam, case, cast, func, literal, select, tuple_
from sqlmodel import col

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.keys.table import SigningKey
from identity.settings import Settings
from identity.store import Database, Statement, StatementBy, moment, select_of, value_of
from identity.store.positions import Row, Travelled
from identity.store.statements import DialectName
from identity.store.table import XID, Change
from identity.tokens.table import RevokedToken
from identity.verifier.gate.claims import MAX_LEEWAY
from identity.verifier.revocations.denylist import LATE

KINDS = {
    "token.revoked": "token",
    "session.ended": "session",
    "user.narrowed": "subject",
    "client.revoked": "client",
    "client.narrowed": "client",
    "key.revoked": "key",
}
PAGE = 1000
LEEWAY, MARGIN = timedelta(seconds=MAX_LEEWAY), timedelta(seconds=LATE)

_LONGEST = Statement(
    lambda: select(func.max(col(SigningKey.token_ttl))).where(
        col(SigningKey.state) != "next", col(SigningKey.withdrawn_at).is_(None)
    )
)
TOGETHER = 100  # tokens of one query


def _snapshot(dialect: DialectName) -> Any:
    xid: Any = cast(XID, String) if dialect == "postgresql" else col(Change.id)
    expires = select_of(RevokedToken.expires_at).where(col(RevokedToken.jti) == col(Change.ref))
    return (
        select_of(
            Change.at,
            Change.id,
            xid,
            Change.nonce,
            Change.kind,
            Change.ref,
            case((col(Change.kind) == "token.revoked", expires.scalar_subquery())),
        )
        .where(
            tuple_(Change.at, Change.id)
            > tuple_(value_of(Change.at, "at"), value_of(Change.id, "id")),
            col(Change.kind).in_([literal(kind) for kind in KINDS]),
        )
        .order_by(col(Change.at), col(Change.id))
        .limit(PAGE)
    )


def _known(dialect: DialectName) -> Any:
    newest: Any = col(Change.id) == bindparam("newest")
    if dialect == "postgresql":
        newest = cast(bindparam("newest", type_=String), XID.type) == XID
    return select(literal(1)).where(newest, col(Change.nonce) == bindparam("nonce"))


def _expires() -> Any:
    jtis: list[Any] = [bindparam(f"r{n}") for n in range(TOGETHER)]
    return select_of(RevokedToken.jti, RevokedToken.expires_at).where(
        col(RevokedToken.jti).in_(jtis)
    )


_SNAPSHOT = StatementBy(_snapshot)
_KNOWN = StatementBy(_known)
_EXPIRES = Statement(_expires)


@dataclass(frozen=True, slots=True)
class Entry:
    """`token`: the `jti` is dead. `session`: every token of that `sid`. `subject`, `client`: every
    token of that `sub`, `client_id` with `iat` before `at`, rounded down to the second; of those up
    to a minute later only the service can tell. `key`: every token of that `kid`. Forgotten after
    `exp`."""

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
    signed for, by whichever process with whatever setting, and what verifiers allow for clocks and
    for a commit."""
    ((signed,),) = await db.query(_LONGEST, {})
    return max(timedelta(seconds=signed or 0), settings.tokens.access_token_ttl) + LEEWAY + MARGIN


async def snapshot(db: Database, kept: timedelta) -> list[Entry]:
    """Every change that matters still, in order. Page by page: reading may happen in the event
    loop."""
    found: list[Entry] = []
    values: dict[str, Any] = {"at": utcnow() - kept, "id": 2**63 - 1}
    while True:
        rows = await db.query(_SNAPSHOT, values)
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
    newest: str | int = position.xid
    if db.dialect == "postgresql":
        newest = str(newest)
    elif position.xid >= 2**63:
        return False
    return bool(await db.query(_KNOWN, {"newest": newest, "nonce": position.nonce}))


def _entry(row: Row, kept: timedelta, expires_at: Any) -> Entry:
    at = moment(row.at)
    exp = (moment(expires_at) + LEEWAY if expires_at else at + kept).timestamp()
    body = {
        "id": row.id, "kind": KINDS[row.kind], "ref": row.ref, "at": at.timestamp(), "exp": exp,
    }  # fmt: skip
    return Entry(row.xid, row.id, exp, orjson.dumps(body))
