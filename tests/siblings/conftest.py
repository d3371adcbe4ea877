"""The service and a sibling of it, both as real servers, and a browser."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client, ClientSecret
from identity.directory.users import accounts
from identity.opaque import digest
from identity.service.wiring import open_database
from identity.settings import Settings
from tests.databases import ROOT, environment, free_port, wait_until
from tests.serving import ADMIN_PASSWORD, Server
from tests.siblings.chromium import Chromium, Page, installed
from tests.templates import Templates
from tests.world import PASSWORD

CLIENT = ("orders", "cs_only-in-tests-Zq81")
AUDIENCE = "https://orders.example.com"


@dataclass(frozen=True)
class Pair:
    identity: str
    orders: str
    """Written as FastAPI's tutorial writes one."""
    example: str
    """examples/orders."""


@pytest.fixture(scope="module")
def pair(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """All, and the user `ada`; the service lets pages of the siblings' origins call it."""
    folder = tmp_path_factory.mktemp("siblings")
    url = templates.fresh("sqlite", folder)
    _fill(url)
    orders, example = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "DATABASE_URL": url,
        "KEYS_DIR": str(folder / "keys"),
        "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
        "CORS_ORIGINS": f"{orders} {example}",
    }
    server = Server(folder, settings)
    siblings = [
        _sibling("orders", orders, folder, ORDERS_IDENTITY=server.url,
                 ORDERS_CLIENT_ID=CLIENT[0], ORDERS_CLIENT_SECRET=CLIENT[1]),
        _sibling("example", example, folder, ISSUER=server.url, AUDIENCE=AUDIENCE),
    ]  # fmt: skip
    try:
        for name, url in (("orders", orders), ("example", example)):
            wait_until(partial(_answers, url), 30, (folder / f"{name}.log").read_text)
        yield Pair(server.url, orders, example)
    finally:
        for sibling in siblings:
            sibling.terminate()
            sibling.wait(15)
        server.stop()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not installed():
        pytest.skip("no Chromium here (on Debian: apt-get install chromium)")
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Callable[[str], Page]]:
    """`page(address)` opens one, without what earlier tests left in cookies and storage."""
    opened: list[Page] = []

    def open_(address: str) -> Page:
        opened.append(chromium.open(address))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def _fill(database_url: str) -> None:
    db = open_database(Settings.of(database_url=database_url))
    password_hash = PasswordHasher(4).hash(PASSWORD)
    with db.transaction() as session:
        for scope in ("orders:read", "orders:write"):
            session.add(Scope(name=scope, audience=AUDIENCE))
        session.add(Role(name="clerk"))
        session.flush()
        session.add(RoleScope(role="clerk", scope="orders:read"))
        accounts.create(session, username="ada", password_hash=password_hash, roles=["clerk"])
        session.add(Client(id=CLIENT[0], grants=[], scopes=["introspect"]))
        session.flush()
        secret = ClientSecret(client_id=CLIENT[0], digest=digest(CLIENT[1]), hint=CLIENT[1][-4:])
        session.add(secret)
    db.close()


def _sibling(name: str, url: str, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    port = url.rpartition(":")[2]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", f"tests.siblings.{name}:app", "--port", port],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment() | settings,
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/openapi.json", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
