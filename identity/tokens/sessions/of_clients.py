"""What is done to a client together with the sessions that end by it. Each function is part of the
caller's unit of work."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlmodel import Session

from identity.directory.access.authority import Held
from identity.directory.clients import accounts
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.surroundings import UNSEEN, Surroundings
from identity.directory.clients.table import Client
from identity.tokens.sessions import lifecycle


def update(
    session: Session,
    client: Client,
    fields: dict[str, Any],
    *,
    known_grants: Sequence[GrantKind],
    own_audiences: Collection[str],
    around: Surroundings = UNSEEN,
    held: Held,
) -> None:
    """As `clients.accounts.update`. Disabling ends the client's sessions, and taking an audience
    away those for that audience."""
    before = {*client.audiences}
    accounts.update(
        session,
        client,
        fields,
        known_grants=known_grants,
        own_audiences=own_audiences,
        around=around,
        held=held,
    )
    if client.status == "disabled":
        lifecycle.end_all(session, "client disabled", client_id=client.id)
    # Every client may name these two.
    lost = before - {*client.audiences, *own_audiences}
    if lost:
        why = "audience taken from the client"
        lifecycle.end_all(session, why, client_id=client.id, audiences=lost)


def remove(session: Session, client: Client, held: Held) -> None:
    """As `clients.accounts.remove`, with its sessions."""
    accounts.guard(session, client, held)
    lifecycle.end_all(session, "client deleted", client_id=client.id)
    accounts.remove(session, client, held)
