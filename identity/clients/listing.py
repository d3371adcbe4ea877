"""Which clients a list shows: the filters of `GET /clients` and of `identity clients list`."""

import json

from sqlalchemy import String, cast
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.clients.table import Client
from identity.searching import contains


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
