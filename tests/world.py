"""Users, clients and scopes for tests, made by the domain's own functions, and the calls that
nearly every test makes of the service."""

import base64
import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote_plus

import httpx
from sqlmodel import Session, select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client, ClientSecret
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.opaque import digest, mint
from identity.records.audit import AuditEvent
from identity.service.opening import audit_keys
from identity.service.wiring import Services
from identity.store import changes
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import RefreshToken

PASSWORD = "tangerine harbour 71"
FORM = "application/x-www-form-urlencoded"
KNOWN: dict[str, Any] = {
    "given_name": "Ada",
    "family_name": "Lovelace",
    "locale": "en-GB",
    "zoneinfo": "Europe/London",
    "picture": "https://example.com/ada.png",
    "phone_number": "+442079460000",
    "address": {"locality": "London", "country": "UK"},
}
"""What users may write of themselves, each in the form in which it is kept."""


def services_of(app: Any) -> Services:
    """What the service in this process is made of."""
    services: Services = app.services
    return services


@cache
def hashed(password: str, rounds: int) -> str:
    """As the service keeps it: made once, since nothing is told by two that are alike."""
    return PasswordHasher(rounds).hash(password)


@dataclass(frozen=True)
class Caller:
    """A client and how it authenticates."""

    id: str
    secret: str | None

    @property
    def basic(self) -> dict[str, str]:
        """The Authorization header, both parts form-encoded (RFC 6749 §2.3.1)."""
        assert self.secret is not None
        return basic(quote_plus(self.id), quote_plus(self.secret))

    @property
    def post(self) -> dict[str, str]:
        """The form's parameters."""
        return {"client_id": self.id} | ({"client_secret": self.secret} if self.secret else {})


def basic(client_id: str, secret: str) -> dict[str, str]:
    """An Authorization header of scheme Basic around exactly these two texts."""
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


class World:
    """The service `app` and those who use it. `api` comes from an address of its own."""

    def __init__(self, app: Any, api: httpx.AsyncClient) -> None:
        self.app = app
        self.api = api
        self.services = services_of(app)
        self._checker: Caller | None = None

    @contextmanager
    def change(self) -> Iterator[Session]:
        """One transaction, as another process would make it."""
        with self.services.db.transaction() as session:
            yield session

    def user(
        self,
        username: str = "ada",
        password: str = PASSWORD,
        *,
        password_hash: str | None = None,
        status: str = "active",
        **fields: Any,
    ) -> User:
        """An active user without roles, unless said otherwise."""
        rounds = self.services.settings.passwords.bcrypt_rounds
        password_hash = password_hash or hashed(password, rounds)
        with self.change() as session:
            user = accounts.create(
                session, username=username, password_hash=password_hash, **fields
            )
            if status != "active":
                accounts.set_status(session, user, status, None)
        return user

    def scopes(self, *names: str, audience: str | None = None, role: str | None = None) -> None:
        """Scopes of `audience`, and a role that holds them."""
        with self.change() as session:
            session.add_all(Scope(name=name, audience=audience) for name in names)
            session.flush()
            changes.record(session, "scope.changed", "*")
            if role:
                session.add(Role(name=role))
                session.flush()
                session.add_all(RoleScope(role=role, scope=name) for name in names)

    def client(
        self,
        client_id: str = "shop",
        *,
        public: bool = False,
        grants: Collection[str] = ("password", "refresh_token", "client_credentials"),
        scopes: Collection[str] = ("*",),
        audiences: Collection[str] = (),
    ) -> Caller:
        """A client with one secret; `public`: with none."""
        with self.change() as session:
            session.add(
                Client(
                    id=client_id,
                    type="public" if public else "confidential",
                    grants=list(grants),
                    scopes=list(scopes),
                    audiences=list(audiences),
                )
            )
            changes.record(session, "client.changed", client_id)
        return Caller(client_id, None if public else self.secret(client_id))

    def secret(
        self, client_id: str, secret: str | None = None, expires_at: datetime | None = None
    ) -> str:
        """Another secret of the client."""
        secret = secret or mint("cs")
        with self.change() as session:
            session.add(
                ClientSecret(
                    client_id=client_id,
                    digest=digest(secret),
                    hint=secret[-4:],
                    expires_at=expires_at,
                )
            )
            changes.record(session, "client.changed", client_id)
        return secret

    def change_client(self, client_id: str, **fields: Any) -> None:
        with self.change() as session:
            client = session.get(Client, client_id)
            assert client is not None
            client.sqlmodel_update(fields)
            session.add(client)
            changes.record(session, "client.changed", client_id)

    def delete_client(self, client_id: str) -> None:
        with self.change() as session:
            session.delete(session.get(Client, client_id))
            changes.record(session, "client.deleted", client_id)

    def set_status(self, user: User, status: str) -> None:
        """As an administrator does it: the sessions of a disabled user end."""
        with self.change() as session:
            user = accounts.get(session, user.id, lock=True)
            accounts.set_status(session, user, status, None)
            if status == "disabled":
                lifecycle.end_all(session, "disabled", user_id=user.id)

    # --- What callers ask of the service ---------------------------------------------------

    async def token(self, client: Caller | None = None, **form: str) -> httpx.Response:
        return await self.api.post("/token", data=form | (client.post if client else {}))

    async def log_in(
        self,
        username: str = "ada",
        password: str = PASSWORD,
        *,
        client: Caller | None = None,
        **form: str,
    ) -> dict[str, Any]:
        """The answer of a login that must succeed, by the built-in client unless one is named."""
        form |= {"grant_type": "password", "username": username, "password": password}
        return granted(await self.token(client, **form))

    async def act(self, client: Caller, **form: str) -> dict[str, Any]:
        """The answer of a client-credentials grant that must succeed."""
        return granted(await self.token(client, grant_type="client_credentials", **form))

    async def refresh(
        self, refresh_token: str, client: Caller | None = None, **form: str
    ) -> httpx.Response:
        form |= {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.token(client, **form)

    async def introspect(self, token: str) -> Any:
        """What the service says of `token` to a client of its own."""
        if self._checker is None:
            self._checker = self.client("resource-server", grants=(), scopes=["introspect"])
        answer = await self.api.post(
            "/introspect", data={"token": token}, headers=self._checker.basic
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def active(self, token: str) -> bool:
        """Whether it is alive, by introspection; a dead one says nothing but that."""
        answer = await self.introspect(token)
        assert answer["active"] or answer == {"active": False}
        return bool(answer["active"])

    async def revoke(self, token: str, client: Caller | None = None) -> httpx.Response:
        return await self.api.post(
            "/revoke", data={"token": token} | (client.post if client else {})
        )

    async def me(self, token: str) -> httpx.Response:
        return await self.api.get("/users/me", headers=bearer(token))

    # --- What is on record ----------------------------------------------------------------

    def refresh_tokens(self, session_id: str) -> list[RefreshToken]:
        """All of the session's, spent or not."""
        with self.change() as session:
            query = select(RefreshToken).where(RefreshToken.session_id == session_id)
            return list(session.exec(query).all())

    def age_use(self, token: str, seconds: float) -> None:
        """Let the first use of a refresh token lie `seconds` further back, by any clock."""
        with self.change() as session:
            stored = session.get_one(RefreshToken, digest(token))
            assert stored.spent_at is not None
            stored.spent_at -= timedelta(seconds=seconds)
            session.add(stored)

    async def events(self, name: str) -> list[AuditEvent]:
        """The audit's events of this name, in order."""
        await self.services.queue.flush(self.services.db, audit_keys(self.services.master)[0])
        with self.change() as session:
            query = select(AuditEvent).where(AuditEvent.event == name)
            return sorted(session.exec(query).all(), key=lambda event: event.id or 0)


def granted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """Assert that this is RFC 6749's error and nothing else; the description."""
    assert (answer.status_code, answer.json().get("error")) == (status, code), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    description: str = answer.json()["error_description"]
    return description


def claims_of(token: str) -> Mapping[str, Any]:
    """The payload, unverified."""
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def an_address() -> str:
    """A client address that no other test uses."""
    return ".".join(str(octet) for octet in (10, *secrets.token_bytes(3)))
