"""Acts on clients."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session

from identity.directory.access.authority import Held
from identity.directory.clients import accounts
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.table import Client
from identity.directory.merging import patched
from identity.http.preconditions import check_unchanged
from identity.records import audit
from identity.tokens import logouts
from identity.tokens.sessions import lifecycle

OBJECTS: Final = frozenset({"jwks", "workloads", "claims", "lifetimes", "token_exchange"})
"""Settings that are objects: a patch changes their members, and what that makes is looked at."""


def change(
    session: Session,
    client_id: str,
    patch: Mapping[str, Any],
    *,
    known_grants: Sequence[GrantKind],
    own_audiences: Collection[str],
    held: Held,
    if_match: str | None,
) -> Client:
    """A merge patch of settings, and of what `accounts.update` takes besides. Disabling ends the
    client's sessions, and taking an audience away those for that audience."""
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    before = {*client.audiences}
    accounts.update(
        session,
        client,
        patched(client.settings or {}, patch, OBJECTS),
        known_grants=known_grants,
        own_audiences=own_audiences,
        held=held,
    )
    if client.status == "disabled":
        lifecycle.end_all(session, "client disabled", client_id=client.id)
    # Every client may name its service's own.
    lost = before - {*client.audiences, *own_audiences}
    if lost:
        why = "audience taken from the client"
        lifecycle.end_all(session, why, client_id=client.id, audiences=lost)
    return client


def delete(session: Session, client_id: str, held: Held, if_match: str | None) -> None:
    """Its sessions and tokens die at once."""
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    accounts.guard(session, client, held)
    lifecycle.end_all(session, "client deleted", client_id=client.id)
    accounts.remove(session, client, held)


def retry_logouts(session: Session, client_id: str, held: Held) -> None:
    """What it is yet to be told is tried now, also what was given up."""
    client = accounts.get(session, client_id)
    accounts.guard(session, client, held)
    if count := logouts.try_again(session, client_id):
        audit.record(session, "logout_notices.retried", client_id=client_id, count=count)
