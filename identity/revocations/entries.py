"""What of the change feed a sibling must know: the revocations that a token may still run into."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
from sqlalchemy import select
from sqlmodel import Session, col

from identity.changes import Change
from identity.clock import utcnow
from identity.keys.rotation import longest_life
from identity.settings import Settings
from identity.tokens.table import RevokedToken
from identity.verifier.gate import MAX_LEEWAY

KINDS = {
    "token.revoked": "token",
    "session.ended": "session",
    "user.narrowed": "subject",
    "client.revoked": "client",
    "client.narrowed": "client",
    "key.revoked": "key",
}
PAGE = 2000


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


def lifetime(session: Session, settings: Settings) -> timedelta:
    """For how long a token can run into a revocation: the longest that any published key has
    signed for, by whichever process with whatever setting, and what verifiers allow for clocks."""
    return max(longest_life(session), settings.tokens.access_token_ttl) + timedelta(
        seconds=MAX_LEEWAY
    )


def between(
    session: Session, settings: Settings, after: int, upto: int, limit: int = PAGE
) -> Sequence[Entry]:
    """The entries that matter still, with ids in (`after`, `upto`], in order; `limit` at the
    most."""
    now, kept = utcnow(), lifetime(session, settings)
    revoked = (col(Change.kind) == "token.revoked") & (col(RevokedToken.jti) == Change.ref)
    query = (
        select(*map(col, (Change.id, Change.kind, Change.ref, Change.at, RevokedToken.expires_at)))
        .select_from(Change)
        .join(RevokedToken, revoked, isouter=True)
        .where(
            col(Change.at) > now - kept,
            col(Change.id) > after,
            col(Change.id) <= upto,
            col(Change.kind).in_(KINDS),
        )
        .order_by(col(Change.id))
        .limit(limit)
    )
    leeway = timedelta(seconds=MAX_LEEWAY)
    entries = []
    for number, kind, ref, at, expires_at in session.execute(query):
        exp = (expires_at + leeway if expires_at else at + kept).timestamp()
        body = {"id": number, "kind": KINDS[kind], "ref": ref, "at": at.timestamp(), "exp": exp}
        entries.append(Entry(number, exp, orjson.dumps(body)))
    return entries


def known(session: Session, position: int) -> bool:
    """Whether history goes back to `position`."""
    return session.get(Change, position) is not None
