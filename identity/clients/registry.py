"""What the process remembers of a client."""

from dataclasses import dataclass

from sqlmodel import Session, select

from identity.access.granting import ALL
from identity.clients.table import Client, ClientSecret
from identity.remembered import Remembered


@dataclass(frozen=True, slots=True)
class ClientSnapshot:
    id: str
    confidential: bool
    active: bool
    grants: frozenset[str]
    scopes: frozenset[str]
    audiences: frozenset[str]
    secrets: tuple[tuple[str, float | None], ...]
    """(digest, Unix time of expiry or None)."""
    good_from: int
    """Unix time, rounded down. Tokens from before are dead."""

    def may_hold(self, scope: str) -> bool:
        return ALL in self.scopes or scope in self.scopes


Clients = Remembered[ClientSnapshot]


def load(session: Session, client_id: str) -> ClientSnapshot | None:
    """None where there is none, after as much work."""
    client = session.get(Client, client_id)
    secrets = session.exec(select(ClientSecret).where(ClientSecret.client_id == client_id)).all()
    if client is None:
        return None
    return ClientSnapshot(
        id=client.id,
        confidential=client.type == "confidential",
        active=client.status == "active",
        grants=frozenset(client.grants),
        scopes=frozenset(client.scopes),
        audiences=frozenset(client.audiences),
        secrets=tuple(
            (s.digest, s.expires_at.timestamp() if s.expires_at else None) for s in secrets
        ),
        good_from=int(client.good_from.timestamp()),
    )
