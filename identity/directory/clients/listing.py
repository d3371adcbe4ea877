"""Which clients a list shows: the filters of `GET /clients` and of `identity clients list`."""

import json

from sqlalchemy import String, cast, func
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.directory.clients.table import Client
from identity.store.searching import begins, contains


def matching(
    *, q: str | None = None, status: str | None = None, grant: str | None = None
) -> SelectOfScalar[Client]:
    """`q`: part of an id or name, in any case. `grant`: one that the client may use."""
    query = select(Client)
    if q:
        query = query.where(contains(q, Client.id, Client.name))
    if status is not None:
        query = query.where(Client.status == status)
    if grant is not None:
        # As JSON has it: no name in the list holds a quote, so this is one of them and whole.
        named = json.dumps(grant)
        query = query.where(cast(col(Client.grants), String).contains(named, autoescape=True))
    return query


def beginning_with(session: Session, q: str, limit: int) -> list[Client]:
    """Clients whose id or name begins with `q`."""
    named = begins(session, func.lower(col(Client.name)), q.lower())
    either = begins(session, col(Client.id), q) | named
    return list(session.exec(select(Client).where(either).order_by(Client.id).limit(limit)))
