"""Acts on clients."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session

from identity.authentication import sectors
from identity.directory.access.authority import Held
from identity.directory.clients import accounts
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.settings import load
from identity.directory.clients.surroundings import Surroundings
from identity.directory.clients.table import Client
from identity.directory.merging import patched
from identity.http.preconditions import check_unchanged
from identity.records import audit
from identity.service.wiring import Services
from identity.tokens import logouts
from identity.tokens.sessions import of_clients

OBJECTS: Final = frozenset({"jwks", "workloads", "claims", "lifetimes", "token_exchange"})
"""Settings that are objects: a patch changes their members, and what that makes is looked at."""


async def surroundings(
    services: Services, patch: Mapping[str, Any], client_id: str | None = None
) -> Surroundings:
    """What has to be found out before a client is made, or changed by this patch."""
    sector: str | None = patch.get("sector_identifier_uri")
    if client_id is not None and "redirect_uris" in patch and "sector_identifier_uri" not in patch:
        stored = await services.db.read(lambda s: accounts.get(s, client_id).settings)
        sector = load(stored).sector_identifier_uri
    return await sectors.surroundings(services.fetcher, services.settings, sector, trusted=True)


def change(
    session: Session,
    client_id: str,
    patch: Mapping[str, Any],
    *,
    known_grants: Sequence[GrantKind],
    own_audiences: Collection[str],
    around: Surroundings,
    held: Held,
    if_match: str | None,
) -> Client:
    """A merge patch of settings, and of what `accounts.update` takes besides."""
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    of_clients.update(
        session,
        client,
        patched(client.settings or {}, patch, OBJECTS),
        known_grants=known_grants,
        own_audiences=own_audiences,
        around=around,
        held=held,
    )
    return client


def delete(session: Session, client_id: str, held: Held, if_match: str | None) -> None:
    """Its sessions and tokens die at once."""
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    of_clients.remove(session, client, held)


def retry_logouts(session: Session, client_id: str, held: Held) -> None:
    """What it is yet to be told is tried now, also what was given up."""
    client = accounts.get(session, client_id)
    accounts.guard(session, client, held)
    if count := logouts.try_again(session, client_id):
        audit.record(session, "logout_notices.retried", client_id=client_id, count=count)
