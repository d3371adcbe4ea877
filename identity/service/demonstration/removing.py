"""Taking the demonstration away: all that is marked, and nothing else. What the audit has recorded
stays, and goes on to verify; so do the ids that were given, which are nobody else's ever
(`directory.subjects`)."""

from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlmodel import Session, delete

from identity.directory.access.table import Role, Scope
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import NotFound
from identity.records import audit
from identity.service.administration import access
from identity.service.demonstration.table import Demonstration, Kind, marked
from identity.tokens.sessions import lifecycle, of_clients

T = TypeVar("T", User, Client, Role, Scope)
REASON = "the demonstration was removed"


class Removed(NamedTuple):
    users: int
    clients: int


def remove(session: Session) -> Removed:
    """In this transaction. What somebody has deleted since is gone already, and what they have made
    since under the same name or id is theirs. `NotFound` where there is none, `Conflict` where one
    of its users has become the last administrator."""
    if not marked(session, "itself"):
        raise NotFound("there is no demonstration")
    users, clients = _belonging(session, "user", User), _belonging(session, "client", Client)
    for user in users:
        lifecycle.end_all(session, REASON, user_id=user.id)
        accounts.remove(session, user, None)
    for client in clients:
        of_clients.remove(session, client, None)
    for role in _belonging(session, "role", Role):
        access.delete_role(session, role.name, None, None)
    for scope in _belonging(session, "scope", Scope):
        access.delete_scope(session, scope.name, None, None)
    session.exec(delete(Demonstration))
    audit.record(session, "demonstration.removed", users=len(users), clients=len(clients))
    return Removed(len(users), len(clients))


def _belonging(session: Session, kind: Kind, table: type[T]) -> list[T]:
    """What there still is of it."""
    (built,) = (datetime.fromisoformat(at) for at in marked(session, "at"))
    found = (session.get(table, ref) for ref in marked(session, kind))
    return [each for each in found if each is not None and each.created_at <= built]
