"""What the service knows when it is measured: users, sessions, clients, tokens, at any size.

Rows are written straight into the tables; tokens are made by the service's own mint.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, select

from bench import registered
from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import now, utcnow
from identity.directory.clients.table import Client, ClientSecret
from identity.directory.consents import Consent
from identity.directory.users.table import LoginName, User, UserRole
from identity.opaque import digest, mint, new_id
from identity.service.wiring import Services
from identity.settings import Settings
from identity.store import Stored
from identity.tokens.minting import Subject
from identity.tokens.sessions.beginning import Begun
from identity.tokens.sessions.table import LoginSession, RefreshToken
from identity.tokens.table import RevokedToken
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import b64url_encode

CLIENT, SECRET = "bench", mint("cs")
SIGNS = "bench-by-key"
USERNAME, PASSWORD = "ada", mint("pw")
BATCH = 5_000


def basic(client_id: str) -> str:
    """The Authorization header of a client here; all have the same secret."""
    return "Basic " + base64.b64encode(f"{client_id}:{SECRET}".encode()).decode()


BASIC = basic(CLIENT)


@dataclass(frozen=True)
class Size:
    """How many of each a database holds before it is measured."""

    users: int = 1_000
    clients: int = 10
    spent_refresh_tokens: int = 0
    revoked_tokens: int = 0


class World:
    """Opened beside the running service, on the same database and master key."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._services = Services.of(settings)
        self._users: list[tuple[str, str]] = []
        self._key = ALGORITHMS["ES256"].generate()

    def fill(self, size: Size) -> None:
        password_hash = PasswordHasher(self.settings.passwords.bcrypt_rounds).hash(PASSWORD)
        clients = (
            {"id": f"client-{n}", "grants": ["client_credentials"]} for n in range(size.clients)
        )
        self.insert(Client, clients)
        with self._services.db.transaction() as session:
            session.add(Client(id=CLIENT, grants=["client_credentials"], scopes=["introspect"]))
            session.flush()
            session.add(ClientSecret(client_id=CLIENT, digest=digest(SECRET), hint=SECRET[-4:]))
            key = ALGORITHMS["ES256"].jwk(self._key)
            settings = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key]}}
            signs = {"id": SIGNS, "grants": ["client_credentials"], "scopes": ["introspect"]}
            session.add(Client(**signs, settings=settings))
            registered.scopes(session)
            session.add_all(registered.clients())
            session.flush()
            for name in (registered.WEB, registered.WEB_RSA, registered.GATEWAY):
                session.add(ClientSecret(client_id=name, digest=digest(SECRET), hint=SECRET[-4:]))
            ada = User(username=USERNAME, password_hash=password_hash)
            session.add(ada)
            session.flush()
            session.add(LoginName(name=USERNAME, user_id=ada.id))
        ids = [(new_id(), f"user-{n}") for n in range(size.users)]
        self.insert(User, ({"id": i, "username": name, "status": "active"} for i, name in ids))
        self.insert(LoginName, ({"name": name, "user_id": i} for i, name in ids))
        self._users = ids
        few = [user_id for user_id, _ in ids[: registered.PEOPLE]]
        self.insert(UserRole, ({"user_id": i, "role": registered.ROLE} for i in few))
        self.insert(Consent, registered.agreed(few))
        if size.spent_refresh_tokens:
            self._spent(size.spent_refresh_tokens)
        until = utcnow() + timedelta(hours=12)
        revoked = ({"jti": new_id(), "expires_at": until} for _ in range(size.revoked_tokens))
        self.insert(RevokedToken, revoked)

    def access_tokens(
        self,
        count: int,
        *,
        scope: str = "",
        audience: str | None = None,
        roles: tuple[str, ...] = (),
        cnf: dict[str, str] | None = None,
    ) -> list[str]:
        """Tokens of users, each of a session of its own."""
        services = self._services
        audience = audience or self.settings.audience
        with services.db.transaction() as session:
            services.ring.load(session)
        tokens = []
        for login, (user_id, username) in zip(self.sessions(count), self.users(), strict=False):
            begun = Begun(login["id"], login["created_at"], login["expires_at"], login["amr"])
            subject = Subject(user_id, username, roles, begun)
            made = services.mint.access_token(
                subject, client_id="first-party", audience=audience, scope=scope, cnf=cnf
            )
            tokens.append(made.token)
        return tokens

    def assertions(self, count: int) -> list[str]:
        """Of the client `SIGNS`, each good once (RFC 7523), spelt as clients' libraries spell them:
        whole seconds, and no spaces."""
        sign = ALGORITHMS["ES256"].signer(self._key)
        head = b64url_encode(b'{"alg":"ES256","typ":"JWT"}')
        common = {"iss": SIGNS, "sub": SIGNS, "aud": self.settings.issuer, "exp": int(now()) + 300}
        made = []
        for _ in range(count):
            claims = json.dumps(common | {"jti": new_id()}, separators=(",", ":")).encode()
            text = head + b"." + b64url_encode(claims)
            made.append((text + b"." + b64url_encode(sign(text))).decode())
        return made

    def refresh_tokens(self, count: int) -> list[str]:
        """Refresh tokens never used, each of a session of its own."""
        tokens = [mint("rt") for _ in range(count)]
        sessions = self.sessions(count)
        self._refresh(
            {"digest": digest(token), "session_id": login["id"]}
            for token, login in zip(tokens, sessions, strict=True)
        )
        return tokens

    def who_log_in(self, name: str, count: int) -> list[str]:
        """Usernames of further users who can log in."""
        password_hash = PasswordHasher(self.settings.passwords.bcrypt_rounds).hash(PASSWORD)
        ids = [(new_id(), f"{name}-{number}") for number in range(count)]
        common = {"status": "active", "password_hash": password_hash}
        self.insert(User, ({"id": i, "username": name, **common} for i, name in ids))
        self.insert(LoginName, ({"name": name, "user_id": i} for i, name in ids))
        return [name for _, name in ids]

    def close(self) -> None:
        self._services.pool.close()
        self._services.db.close()

    def _spent(self, count: int) -> None:
        each = 50
        for login in self.sessions(count // each):
            self._refresh(
                {
                    "digest": new_id(),
                    "session_id": login["id"],
                    "spent_at": utcnow(),
                    "spent": "rotated",
                }
                for _ in range(each)
            )

    def _refresh(self, rows: Iterator[dict[str, Any]]) -> None:
        until = utcnow() + timedelta(days=14)
        common = {"expires_at": until, "spent_at": None, "spent": None}
        self.insert(RefreshToken, ({**common, **row} for row in rows))

    def sessions(self, count: int) -> list[dict[str, Any]]:
        now = utcnow()
        rows = [
            {
                "id": new_id(), "user_id": user_id, "client_id": "first-party", "scope": "",
                "audience": self.settings.audience, "amr": ["pwd"], "created_at": now,
                "expires_at": now + timedelta(days=90),
                "access_expires_at": now + timedelta(hours=1),
            }
            for user_id, _ in islice(self.users(), count)
        ]  # fmt: skip
        self.insert(LoginSession, iter(rows))
        return rows

    def users(self) -> Iterator[tuple[str, str]]:
        if not self._users:
            with self._services.db.transaction() as session:
                self._users = _first_users(session)
        while True:
            yield from self._users

    def insert(self, table: type[Stored], rows: Iterator[dict[str, Any]]) -> None:
        while batch := list(islice(rows, BATCH)):
            with self._services.db.transaction() as session:
                session.execute(insert(table), batch)


def _first_users(session: Session) -> list[tuple[str, str]]:
    return list(session.exec(select(User.id, User.username).limit(1_000)).all())
