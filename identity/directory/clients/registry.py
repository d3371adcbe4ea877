"""What the process remembers of a client."""

from dataclasses import dataclass

from sqlmodel import Session, select

from identity.directory.access.granting import ALL
from identity.directory.clients.table import Client, ClientSecret
from identity.store.remembered import Remembered


@dataclass(frozen=True, slots=True)
class ClientSnapshot:
    id: str
    confidential: bool
    active: bool
    grants: frozenset[str]
    scopes: frozenset[str]
    default_scopes: tuple[str, ...] | None
    """What a request without `scope` asks for; None: all that is not administrative."""
    audiences: frozenset[str]
    secrets: tuple[tuple[str, float | None], ...]
    """(digest, Unix time of expiry or None)."""
    good_from: int
    """Unix time, rounded down. Tokens from before are dead."""
    builtin: bool
    """It is our own pages': the scopes asked for pick any audience."""

    def may_hold(self, scope: str) -> bool:
        return ALL in self.scopes or scope in self.scopes


Clients = Remembered[ClientSnapshot]


def load(session: Session, client_id: str) -> ClientSnapshot | None:
    client = session.get(Client, client_id)
    if client is None:
        return None
    secrets = session.exec(select(ClientSecret).where(ClientSecret.client_id == client_id)).all()
    return ClientSnapshot(
        id=client.id,
        confidential=client.type == "confidential",
        active=client.status == "active",
        grants=frozenset(client.grants),
        scopes=frozenset(client.scopes),
        default_scopes=None if client.default_scopes is None else tuple(client.default_scopes),
        audiences=frozenset(client.audiences),
        secrets=tuple(
            (s.digest, s.expires_at.timestamp() if s.expires_at else None) for s in secrets
        ),
        good_from=int(client.good_from.timestamp()),
        builtin=client.builtin,
    )
