"""Taking the demonstration away: all that is marked, and nothing else. What the audit has recorded
stays, and goes on to verify; so do the ids that were given, which are nobody else's ever
(`directory.subjects`)."""

from typing import NamedTuple

from sqlmodel import Session, delete

from identity.directory.access.table import Role, Scope
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import NotFound
from identity.records import audit
from identity.service.administration import access
from identity.service.demonstration.table import Demonstration, marked
from identity.tokens.sessions import lifecycle, of_clients

REASON = "the demonstration was removed"


class Removed(NamedTuple):
    users: int
    clients: int


def remove(session: Session) -> Removed:
    """In this transaction. What somebody has deleted since is gone already. `NotFound` where there
    is none, `Conflict` where one of its users has become the last administrator."""
    if not marked(session, "itself"):
        raise NotFound("there is no demonstration")
    users = clients = 0
    for user_id in marked(session, "user"):
        user = session.get(User, user_id)
        if user is not None:
            lifecycle.end_all(session, REASON, user_id=user.id)
            accounts.remove(session, user, None)
            users += 1
    for client_id in marked(session, "client"):
        client = session.get(Client, client_id)
        if client is not None:
            of_clients.remove(session, client, None)
            clients += 1
    for role in marked(session, "role"):
        if session.get(Role, role) is not None:
            access.delete_role(session, role, None, None)
    for scope in marked(session, "scope"):
        if session.get(Scope, scope) is not None:
            access.delete_scope(session, scope, None, None)
    session.exec(delete(Demonstration))
    audit.record(session, "demonstration.removed", users=users, clients=clients)
    audit.happened(session).clear()
    return Removed(users, clients)
