"""A service that runs, with what its siblings need: scopes of the resource `AUDIENCE`, users who
hold them, an app that asks for tokens, and a client for whoever verifies. Over HTTP alone."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from tests.databases import environment, free_port, wait_until
from tests.serving import ADMIN_PASSWORD

AUDIENCE = "https://orders.example.com"
READ, WRITE = "orders:read", "orders:write"
PASSWORD = "tangerine harbour 71"


@dataclass(frozen=True)
class Credentials:
    id: str
    secret: str

    @property
    def header(self) -> dict[str, str]:
        """By HTTP Basic."""
        pair = f"{self.id}:{self.secret}".encode()
        return {"authorization": "Basic " + base64.b64encode(pair).decode()}


class Deployment:
    """`ada` may read and write orders, `bob` only read them. `url` is address and issuer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=20)
        for scope in (READ, WRITE):
            self.administer("POST", "/scopes", {"name": scope, "audience": AUDIENCE})
        for name, scopes in (("ada", [READ, WRITE]), ("bob", [READ])):
            self.administer("POST", "/roles", {"name": f"role-of-{name}", "scopes": scopes})
            user = {"username": name, "password": PASSWORD, "roles": [f"role-of-{name}"]}
            self.administer("POST", "/users", user)
        app = {"id": "storefront", "name": "Storefront", "type": "public", "scopes": ["*"]}
        app |= {"grant_types": ["password", "refresh_token"], "audiences": [AUDIENCE]}
        self.administer("POST", "/clients", app)
        sibling = {"id": "orders", "name": "Orders", "scopes": ["introspect"]}
        made = self.administer("POST", "/clients", sibling)
        self.sibling = Credentials("orders", made["client_secret"])

    def close(self) -> None:
        self.http.close()

    def log_in(self, username: str = "ada", **form: str) -> dict[str, Any]:
        """The answer to a login at the app, for the resource `AUDIENCE`."""
        form = {"client_id": "storefront", "resource": AUDIENCE} | form
        return self._granted(username=username, password=PASSWORD, **form)

    def token(self, username: str = "ada", **form: str) -> str:
        return str(self.log_in(username, **form)["access_token"])

    def revoke(self, token: str) -> float:
        """When it was answered, by the monotonic clock."""
        form = {"token": token, "client_id": "storefront"}
        self.http.post("/revoke", data=form).raise_for_status()
        return time.monotonic()

    def administer(self, method: str, path: str, document: Any = None) -> Any:
        """The answer to a call of the administrator's."""
        admin = self._granted(username="admin", password=ADMIN_PASSWORD, scope="*")["access_token"]
        headers = {"authorization": f"Bearer {admin}"}
        answer = self.http.request(method, path, json=document, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def _granted(self, **form: str) -> dict[str, Any]:
        answer = self.http.post("/token", data={"grant_type": "password", **form})
        assert answer.is_success, answer.text
        document: dict[str, Any] = answer.json()
        return document


@contextmanager
def sibling(
    command: Callable[[int], Sequence[str]],
    folder: Path,
    settings: Mapping[str, str],
    *,
    where: Path | None = None,
    path: str = "/",
    at: int | None = None,
) -> Iterator[str]:
    """A server of another program on a free loopback port (or that of `at`), which `command` gets;
    its address. It runs in `where` and is ready when it answers `path`, whatever it answers."""
    port = at or free_port()
    url = f"http://127.0.0.1:{port}"
    said = folder / f"sibling-{port}.log"
    with said.open("wb") as log:
        process = Popen(
            list(command(port)),
            cwd=where or folder,
            env=environment() | dict(settings),
            stdout=log,
            stderr=log,
        )

    def answers() -> bool:
        assert process.poll() is None, said.read_text(errors="replace")
        try:
            httpx.get(url + path, timeout=2, trust_env=False)
        except httpx.TransportError:
            return False
        return True

    try:
        wait_until(answers, 30, lambda: said.read_text(errors="replace"))
        yield url
    finally:
        process.terminate()
        process.wait(15)


def seconds_until(happened: Callable[[], bool], since: float, within: float = 15) -> float:
    """Seconds from monotonic `since` until `happened` was first seen true."""
    wait_until(happened, within, lambda: f"not within {within} s")
    return time.monotonic() - since


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
