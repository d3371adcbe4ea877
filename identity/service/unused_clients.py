"""Clients that registered themselves and were never used: they go, so that not all of them stay
that ever came by."""

from datetime import timedelta

from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.clients import accounts
from identity.directory.clients.table import Client, ClientRegistration
from identity.directory.consents import Consent
from identity.store import SOME
from identity.tokens.codes import AuthorizationCode
from identity.tokens.sessions.table import LoginSession


def prune(session: Session, age: timedelta) -> int:
    """Delete up to `SOME` older than `age` to which nobody has ever agreed; how many that were."""
    never = [
        ~select(theirs.client_id).where(col(theirs.client_id) == col(Client.id)).exists()
        for theirs in (LoginSession, Consent, AuthorizationCode)
    ]
    unused = (
        select(Client)
        .join(ClientRegistration)
        .where(
            col(ClientRegistration.used).is_(False),
            col(ClientRegistration.created_at) < utcnow() - age,
            *never,
        )
        .limit(SOME)
        .with_for_update(of=Client, skip_locked=True)
    )
    clients = session.exec(unused).all()
    for client in clients:
        accounts.remove(session, client, None)
    return len(clients)
