"""Real servers on one database, and calls at the speed of a kept-alive connection."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlmodel import col, select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import utcnow
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client, ClientSecret
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.keys import master
from identity.opaque import digest, mint, new_id
from identity.records.audit import AuditEvent, Fault, verify
from identity.service.opening import audit_keys, open_database
from identity.settings import Settings
from identity.store import changes
from identity.tokens.sessions.table import LoginSession, RefreshToken
from tests.serving import ADMIN_PASSWORD, Server

ISSUER = "http://identity.test"
PASSWORD = "tangerine harbour 71"
CLIENT = "shop"
REDIRECT_URI = "https://shop.example/callback"
BROKEN = (HTTPException, OSError)
"""What a caller sees of a server that died."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Line:
    """A kept-alive connection to one server, as the client `CLIENT`."""

    def __init__(self, port: int, secret: str) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=20)
        self._credentials = {"client_id": CLIENT, "client_secret": secret}

    def post(self, path: str, **form: str) -> Answer:
        body = urlencode(form | self._credentials).encode()
        return self._ask("POST", path, body, {"content-type": "application/x-www-form-urlencoded"})

    def post_from(self, address: str, path: str, **form: str) -> Answer:
        """As a proxy hands it on, for somebody at `address` who is no client."""
        headers = {
            "content-type": "application/x-www-form-urlencoded", "x-forwarded-for": address,
        }  # fmt: skip
        return self._ask("POST", path, urlencode(form).encode(), headers)

    def send(self, method: str, path: str, body: bytes, kind: str) -> Answer:
        return self._ask(method, path, body, {"content-type": kind})

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def patch(self, path: str, token: str, **members: Any) -> Answer:
        """A JSON merge patch by whoever has the access token."""
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/merge-patch+json",
        }
        return self._ask("PATCH", path, json.dumps(members).encode(), headers)

    def issue(self) -> str:
        """An access token of the client itself."""
        return str(self.granted(grant_type="client_credentials")["access_token"])

    def log_in(self, username: str, **form: str) -> dict[str, Any]:
        return self.granted(grant_type="password", username=username, password=PASSWORD, **form)

    def granted(self, **form: str) -> dict[str, Any]:
        answer = self.post("/token", **form)
        assert answer.status == 200, answer
        document: dict[str, Any] = answer.document
        return document

    def refresh(self, token: str) -> Answer:
        return self.post("/token", grant_type="refresh_token", refresh_token=token)

    def introspect(self, token: str) -> dict[str, Any]:
        answer = self.post("/introspect", token=token)
        assert answer.status == 200, answer
        document: dict[str, Any] = answer.document
        assert document["active"] or document == {"active": False}
        return document

    def active(self, token: str) -> bool:
        return bool(self.introspect(token)["active"])

    def revoke(self, token: str) -> None:
        answer = self.post("/revoke", token=token)
        assert answer.status == 200, answer

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        except BROKEN:
            self._http.close()
            raise


def settings_of(url: str, folder: Path) -> dict[str, str]:
    """What a server is told that is to be one of several."""
    return {
        "DATABASE_URL": url,
        "KEYS_DIR": str(folder / "keys"),
        "ISSUER": ISSUER,
        "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
        "LOG_LEVEL": "warning",
        "MAIL_FOLDER": "off",
    }


class Replicas:
    """`count` servers, told what `changed` says too; `db` is this process's own way to their
    database, as the command line's."""

    def __init__(self, url: str, folder: Path, count: int, **changed: str) -> None:
        self._folder = folder
        self.url = url
        self._changed = changed
        self._ends = ExitStack()
        self.settings = Settings.of(
            database_url=url, keys_dir=folder / "keys", issuer=ISSUER,
            bcrypt_rounds=4, test_weak_hashing=True, mail_folder=None,
        )  # fmt: skip
        self.servers = [self.start() for _ in range(count)]
        self.db = open_database(self.settings)
        self._ends.callback(lambda: self.db.close())
        self._hash = PasswordHasher(4).hash(PASSWORD)
        self.secret = mint("cs")
        self._register()

    def start(
        self, program: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> Server:
        """One more server; it ends with these. `program`: another than `identity`, which is told
        these `variables`."""
        settings = settings_of(self.url, self._folder) | self._changed
        server = Server(self._folder, settings, program=program, variables=variables or {})
        self._ends.callback(server.stop)
        return server

    @contextmanager
    def lines(self, *servers: Server) -> Iterator[list[Line]]:
        """A connection to each of `servers`, to every one if none is named."""
        with ExitStack() as ends:
            opened = [Line(server.port, self.secret) for server in servers or self.servers]
            for line in opened:
                ends.callback(line.close)
            yield opened

    @contextmanager
    def without_it(self) -> Iterator[None]:
        """This process has no part in the database."""
        self.db.close()
        yield
        self.db = open_database(self.settings)

    def close(self) -> None:
        self._ends.close()

    # --- What another process does to the database ---------------------------------------

    def user(self, *roles: str) -> User:
        with self.db.transaction() as session:
            return accounts.create(
                session, username=f"u-{new_id()}", password_hash=self._hash, roles=roles
            )

    def role(self, scope: str) -> str:
        """A new role that holds a new scope."""
        name = f"role-{new_id()}"
        with self.db.transaction() as session:
            session.add_all([Scope(name=scope), Role(name=name)])
            session.flush()
            session.add(RoleScope(role=name, scope=scope))
            changes.record(session, "scope.changed", scope)
        return name

    def set_client_status(self, status: str) -> None:
        with self.db.transaction() as session:
            client = session.get_one(Client, CLIENT)
            client.status = status  # type: ignore[assignment]
            session.add(client)
            changes.record(session, "client.changed", CLIENT)

    # --- What it finds there ---------------------------------------------------------------

    def live_refresh_tokens(self, session_id: str) -> int:
        """How many of the session's refresh tokens could be used now."""
        with self.db.transaction() as session:
            found = session.exec(
                select(RefreshToken.digest)
                .join(LoginSession)
                .where(
                    LoginSession.id == session_id,
                    col(LoginSession.ended_at).is_(None),
                    col(RefreshToken.spent_at).is_(None),
                    RefreshToken.expires_at > utcnow(),
                )
            ).all()
        return len(found)

    def events(self, name: str) -> list[AuditEvent]:
        with self.db.transaction() as session:
            query = select(AuditEvent).where(AuditEvent.event == name)
            return list(session.exec(query.order_by(col(AuditEvent.id))).all())

    def sealed(self) -> bool:
        """Whether every event has its place in the chain."""
        with self.db.transaction() as session:
            query = select(AuditEvent.id).where(col(AuditEvent.seq).is_(None))
            return session.exec(query).first() is None

    def faults(self) -> list[Fault]:
        """Those of the audit's chain."""
        with self.db.transaction() as session:
            return verify(session, audit_keys(master.load(session, self.settings))).faults

    def _register(self) -> None:
        with self.db.transaction() as session:
            session.add(
                Client(
                    id=CLIENT,
                    grants=[
                        "password",
                        "refresh_token",
                        "client_credentials",
                        "authorization_code",
                    ],
                    scopes=["*"],
                    settings={"redirect_uris": [REDIRECT_URI], "first_party": True},
                )
            )
            session.flush()
            session.add(ClientSecret(client_id=CLIENT, digest=digest(self.secret), hint="…"))
            changes.record(session, "client.changed", CLIENT)
