"""Clients as the command line shows them, with what is known of their secrets."""

from collections import defaultdict
from typing import Any

from sqlmodel import Session, col, select

from identity.cli import client_settings
from identity.cli.printing import ordered
from identity.directory.clients.listing import matching
from identity.directory.clients.table import Client, ClientSecret


def list_clients(
    session: Session,
    *,
    search: str | None = None,
    status: str | None = None,
    grant: str | None = None,
) -> list[dict[str, Any]]:
    """Oldest first; the filters as `clients.listing.matching` has them."""
    query = matching(q=search, status=status, grant=grant)
    clients = session.exec(query.order_by(col(Client.created_at), col(Client.id))).all()
    secrets: dict[str, list[ClientSecret]] = defaultdict(list)
    for secret in session.exec(select(ClientSecret).order_by(col(ClientSecret.id))):
        secrets[secret.client_id].append(secret)
    return [_shown(client, secrets[client.id]) for client in clients]


def view(session: Session, client: Client) -> dict[str, Any]:
    of_client = select(ClientSecret).where(ClientSecret.client_id == client.id)
    secrets = session.exec(of_client.order_by(col(ClientSecret.id))).all()
    return _shown(client, list(secrets))


def _shown(client: Client, secrets: list[ClientSecret]) -> dict[str, Any]:
    """Never a digest."""
    hidden = {"digest", "client_id"}
    facts = ordered(client, exclude={"version", "settings"})
    return (
        facts
        | {"grant_types": client.grants}
        | {"secrets": [ordered(secret, exclude=hidden) for secret in secrets]}
        | client_settings.shown(client)
    )
