"""The real service in this process: its own thread and loop, a port of its own, SQLite.

Modules of the service are imported late: whoever installed the verifier alone, without the extra
`server`, has their names and nothing that they need.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import socket
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, cast

import httpx

from identity.verifier.threads import SyncVerifier
from identity.verifier.verifier import Verifier

ADMIN = ("admin", "correct horse battery staple")
_START_WITHIN = 20.0


def missing() -> str | None:
    """Why the service cannot run here, None where it can."""
    try:
        import identity.app  # noqa: F401
    except ModuleNotFoundError as problem:
        return str(problem)
    return None


def make_template(folder: Path) -> Path:
    """A migrated database in `folder`, with the master key and the first user beside it."""
    from identity.store import migrating

    migrating.upgrade(_settings(folder))
    return folder


def _settings(folder: Path, **changed: Any) -> Any:
    from identity.settings import Settings

    return Settings.of(
        database_url=f"sqlite:///{folder / 'identity.db'}",
        keys_dir=folder / "keys",
        bootstrap_admin_username=ADMIN[0],
        bootstrap_admin_password=ADMIN[1],
        bcrypt_rounds=4,
        test_weak_hashing=True,
        log_level="error",
        mail_folder=None,
        **changed,
    )


class Service:
    """`url` is its address and issuer. What it makes for a test goes over its own HTTP API.

        def test_an_order_is_read(identity_service):
            identity_service.user("alice", scopes=["orders:read"])
            token = identity_service.token("alice")

    `settings` are the service's, in small letters.
    """

    def __init__(self, template: Path, folder: Path, **settings: Any) -> None:
        shutil.copytree(template, folder / "identity", dirs_exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._settings = _settings(folder / "identity", issuer=self.url, **settings)
        self._ready = Event()
        self._failure: BaseException | None = None
        self._server: Any = None
        self._passwords = {ADMIN[0]: ADMIN[1]}
        self._ends = ExitStack()
        self._thread = Thread(target=self._serve, name="identity-service", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_WITHIN) or self._failure is not None:
            self.__exit__(None, None, None)
            raise RuntimeError("the service did not start") from self._failure
        self._api = self._ends.enter_context(httpx.Client(base_url=self.url, trust_env=False))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.close()
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(_START_WITHIN)
        self._listener.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as failure:  # for whoever waits for the start
            self._failure = failure
        finally:
            self._ready.set()

    async def _run(self) -> None:
        from identity.app import create_app
        from identity.http.server import server as serving
        from identity.http.wire.lifespan import Lifespan
        from identity.http.wire.protocol import Limits

        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        try:
            app = create_app(self._settings)
        finally:  # the service sets up logging for a process of its own
            root.handlers[:], root.level = handlers, level
        config = serving.configured(Limits())
        config.app = app
        config.load()
        config.lifespan_class = cast(Any, Lifespan)
        self._server = serving.Server(config, self._ready.set, None)
        await self._server.serve([self._listener])

    # --- What a test needs ---------------------------------------------------------------------

    def user(
        self,
        username: str = "alice",
        *,
        scopes: Collection[str] = (),
        password: str | None = None,
        roles: Collection[str] = (),
    ) -> str:
        """An active user who holds `scopes`, which are made where they do not exist; the id."""
        password = password or secrets.token_urlsafe(16)
        all_roles = list(roles)
        if scopes:
            for scope in scopes:
                self._admin("POST", "/scopes", {"name": scope}, accept=(201, 409))
            role = f"role-of-{secrets.token_hex(4)}"
            self._admin("POST", "/roles", {"name": role, "scopes": list(scopes)})
            all_roles.append(role)
        made = self._admin(
            "POST", "/users", {"username": username, "password": password, "roles": all_roles}
        )
        self._passwords[username] = password
        return str(made["id"])

    def token(self, username: str = ADMIN[0], *, resource: str | None = None, **form: str) -> str:
        """An access token of a user that `user` has made, by the password grant. Without `scope`
        it holds what is not administrative."""
        form |= {"resource": resource} if resource else {}
        answer = self._api.post(
            "/token",
            data={
                "grant_type": "password",
                "username": username,
                "password": self._passwords[username],
                **form,
            },
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def client(
        self,
        *,
        scopes: Collection[str] = ("introspect",),
        grants: Collection[str] = ("client_credentials",),
        audiences: Collection[str] = (),
    ) -> tuple[str, str]:
        """A confidential client: its id and secret. As it is, it may introspect."""
        made = self._admin(
            "POST",
            "/clients",
            {
                "name": "a test's",
                "scopes": list(scopes),
                "grant_types": list(grants),
                "audiences": list(audiences),
            },
        )
        return str(made["id"]), str(made["client_secret"])

    def revoke(self, token: str) -> None:
        self._api.post("/revoke", data={"token": token}).raise_for_status()

    def verifier(self, audience: str | None = None, **options: Any) -> Verifier:
        """A `Verifier` with a client of its own; the audience is the service's default one."""
        client_id, client_secret = self.client()
        credentials = {"client_id": client_id, "client_secret": client_secret}
        return Verifier(self.url, audience or self.url, **{**credentials, **options})

    def sync_verifier(self, audience: str | None = None, **options: Any) -> SyncVerifier:
        client_id, client_secret = self.client()
        credentials = {"client_id": client_id, "client_secret": client_secret}
        return SyncVerifier(self.url, audience or self.url, **{**credentials, **options})

    def _admin(
        self, method: str, path: str, document: dict[str, Any], accept: tuple[int, ...] = (201,)
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token(scope='*')}"}
        answer = self._api.request(method, path, json=document, headers=headers)
        if answer.status_code not in accept:
            raise RuntimeError(f"{method} {path} answers {answer.status_code}: {answer.text}")
        made: dict[str, Any] = answer.json()
        return made
