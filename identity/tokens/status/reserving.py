"""Reserving places in a status list: part of a unit of work.

The blocks are taken at random, so that an index says nothing about how many tokens there are, and
a list's size never changes. A list that is nearly full is left for the next one.
"""

import secrets
from datetime import timedelta
from itertools import count as count_up

from sqlalchemy import func
from sqlmodel import Session, col, delete, select

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.errors import InvalidClient
from identity.keys.table import SigningKey
from identity.store import delete_some, insert_on_conflict
from identity.store.table import Change
from identity.tokens.status.table import BLOCK, CAPACITY, RevokedPlace, StatusBlock

BLOCKS = CAPACITY // BLOCK
TRIES = 8


def reserve(
    session: Session, owner: str | None, kid: str, count: int, good_for: timedelta
) -> list[tuple[int, int]] | None:
    """(list, number) of one to `count` blocks; None where the key signs no more, `InvalidClient`
    where the owner is not active.

    Both rows are held until the commit. Whoever revokes one of them comes before, and this is
    refused, or after, and finds the blocks: no block of a revoked owner is missed.
    """
    if owner is not None:
        client = select(Client.status).where(Client.id == owner)
        if session.exec(client.with_for_update(read=True)).first() != "active":
            raise InvalidClient(audit="gone or disabled meanwhile")
    key = select(SigningKey.state).where(SigningKey.kid == kid)
    if session.exec(key.with_for_update(read=True)).first() in (None, "revoked"):
        return None
    born = session.exec(select(func.max(Change.id))).one() or 0
    list_id = session.exec(select(func.max(StatusBlock.list_id))).one() or 1
    common = {"owner": owner, "kid": kid, "born": born, "expires_at": utcnow() + good_for}
    for attempt in count_up():
        # In order, and never waiting for a block while holding another of an earlier attempt:
        # processes that want the same ones do not lock each other out.
        wanted = sorted({secrets.randbelow(BLOCKS) for _ in range(count)})
        here = list_id + attempt // TRIES
        rows = [{"list_id": here, "number": number, **common} for number in wanted]
        got = session.execute(
            insert_on_conflict(session, StatusBlock)
            .on_conflict_do_nothing()
            .returning(col(StatusBlock.list_id), col(StatusBlock.number)),
            rows,
        ).all()
        if got:
            return [(row[0], row[1]) for row in got]
    raise AssertionError("unreachable")


def prune(session: Session) -> int:
    """Forget lists whose every token has expired, but never the newest: its number stays taken."""
    now = utcnow()
    newest = select(func.max(StatusBlock.list_id)).scalar_subquery()
    live = select(StatusBlock.list_id).where(StatusBlock.expires_at > now)
    session.exec(
        delete(StatusBlock).where(
            col(StatusBlock.list_id) < newest, col(StatusBlock.list_id).not_in(live)
        )
    )
    return delete_some(session, RevokedPlace, col(RevokedPlace.expires_at) < now)
