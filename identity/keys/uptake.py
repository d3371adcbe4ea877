"""Who has a key, by their own word: what a new one waits for (decision 71).

Commands ask this too, and import nothing of the service for it; `followers` is what a process
remembers and writes down.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.keys.table import KeyFollower, SigningKey
from identity.store import delete_some
from identity.store.moments import database_time

SEEN = timedelta(hours=1)
"""Who was not seen for so long is gone. Longer than a stream lasts without being opened again."""
KEPT = timedelta(days=1)
SHOWN = 20


@dataclass(frozen=True)
class Uptake:
    """Of a key that does not sign yet: how many followers were seen in the last hour, how many of
    them do not say what they have, and who says that they have not got it: the first `SHOWN`."""

    followers: int
    silent: int
    missing: int
    who: Sequence[KeyFollower]


def uptake(session: Session, kid: str) -> Uptake:
    seen = _seen_lately(session)
    lacks = [*seen, *_lacks(kid)]
    silent = col(KeyFollower.kids).is_(None)
    by_age = select(KeyFollower).where(*lacks).order_by(col(KeyFollower.seen_at).desc())
    return Uptake(
        followers=_count(session, *seen),
        silent=_count(session, *seen, silent),
        missing=_count(session, *lacks),
        who=session.exec(by_age.limit(SHOWN)).all(),
    )


def uptakes(session: Session) -> dict[str, Uptake]:
    """By kid, of all keys that do not sign yet."""
    return {kid: uptake(session, kid) for kid in _waiting(session)}


def somebody_lacks(session: Session, kid: str) -> bool:
    """Whether `kid` has to wait for a follower."""
    query = select(KeyFollower.id).where(*_seen_lately(session), *_lacks(kid))
    return session.exec(query.limit(1)).first() is not None


def prune(session: Session) -> int:
    return delete_some(
        session, KeyFollower, col(KeyFollower.seen_at) < database_time(session) - KEPT
    )


def held_back(session: Session) -> dict[str, Uptake]:
    """Whose time has come, and who do not sign all the same."""
    ripe = col(SigningKey.not_before) <= utcnow()
    found = {kid: uptake(session, kid) for kid in _waiting(session, ripe)}
    return {kid: each for kid, each in found.items() if each.missing}


def _waiting(session: Session, *where: ColumnElement[bool]) -> Iterator[str]:
    query = select(SigningKey.kid).where(SigningKey.state == "next", *where)
    yield from session.exec(query).all()


def _seen_lately(session: Session) -> list[Any]:
    return [col(KeyFollower.seen_at) > database_time(session) - SEEN]


def _lacks(kid: str) -> list[Any]:
    """All kids are thumbprints of one length: none is part of another."""
    kids = col(KeyFollower.kids)
    return [kids.is_not(None), ~kids.contains(kid, autoescape=True)]


def _count(session: Session, *where: Any) -> int:
    return session.exec(select(func.count()).select_from(KeyFollower).where(*where)).one()
