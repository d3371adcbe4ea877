"""Who is registered for `bench.doors`: a client for people, a gateway, and what it may fetch."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlmodel import Session

from identity.clock import utcnow
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client

WEB, WEB_RSA, GATEWAY = "bench-web", "bench-web-rsa", "bench-gateway"
CALLBACK = "https://web.bench.example/callback"
FROM, TO = "https://gateway.bench.example", "https://stock.bench.example"
READ, ROLE = "bench-stock:read", "bench-keeper"
PEOPLE = 1_000
"""How many have agreed and have the role."""
SCOPE = "openid profile"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def clients() -> list[Client]:
    """The `WEB`s send people to `/authorize`, `GATEWAY` exchanges what it is sent for another's."""
    webs = [
        Client(
            id=client_id, grants=["authorization_code", "refresh_token"], scopes=SCOPE.split(),
            settings={"redirect_uris": [CALLBACK], "id_token_signed_response_alg": algorithm},
        )
        for client_id, algorithm in ((WEB, "ES256"), (WEB_RSA, "RS256"))
    ]  # fmt: skip
    gateway = Client(
        id=GATEWAY, grants=[EXCHANGE], scopes=[READ], audiences=[FROM],
        settings={"token_exchange": {TO: [READ]}},
    )  # fmt: skip
    return [*webs, gateway]


def scopes(session: Session) -> None:
    """What `GATEWAY` gets tokens for, and the role that holds it."""
    session.add_all([Scope(name=READ, audience=TO), Role(name=ROLE)])
    session.flush()
    session.add(RoleScope(role=ROLE, scope=READ))


def agreed(user_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Their consents to `WEB`."""
    now = utcnow()
    common = {"client_id": WEB, "scopes": SCOPE.split(), "granted_at": now, "updated_at": now}
    return (common | {"user_id": user_id} for user_id in user_ids)
