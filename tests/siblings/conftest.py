"""The service and a sibling of it, both as real servers, and a browser."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from identity.clients.table import Client, ClientSecret
from identity.opaque import digest
from identity.passwords.hashing import PasswordHasher
from identity.services import open_database
from identity.settings import Settings
from identity.users import accounts
from tests.databases import ROOT, Templates, environment, free_port, wait_until
from tests.serving import ADMIN_PASSWORD, Server
from tests.siblings.chromium import Chromium, Page, installed
from tests.world import PASSWORD

CLIENT = ("orders", "cs_only-in-tests-Zq81")


@dataclass(frozen=True)
class Pair:
    identity: str
    orders: str


@pytest.fixture(scope="module")
def pair(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both, and the user `ada`; the service lets pages of the sibling's origin call it."""
    folder = tmp_path_factory.mktemp("siblings")
    url = templates.fresh("sqlite", folder)
    _fill(url)
    orders = f"http://127.0.0.1:{free_port()}"
    settings = {
        "DATABASE_URL": url,
        "KEYS_DIR": str(folder / "keys"),
        "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
        "CORS_ORIGINS": orders,
    }
    server = Server(folder, settings)
    sibling = _sibling(orders, server.url, folder)
    try:
        wait_until(lambda: _answers(orders), 30, (folder / "orders.log").read_text)
        yield Pair(server.url, orders)
    finally:
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
        accounts.create(session, username="ada", password_hash=password_hash)
        session.add(Client(id=CLIENT[0], grants=[], scopes=["introspect"]))
        session.flush()
        secret = ClientSecret(client_id=CLIENT[0], digest=digest(CLIENT[1]), hint=CLIENT[1][-4:])
        session.add(secret)
    db.close()


def _sibling(orders: str, identity: str, folder: Path) -> subprocess.Popen[bytes]:
    port = orders.rpartition(":")[2]
    with (folder / "orders.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "tests.siblings.orders:app", "--port", port],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment()
            | {
                "ORDERS_IDENTITY": identity,
                "ORDERS_CLIENT_ID": CLIENT[0],
                "ORDERS_CLIENT_SECRET": CLIENT[1],
                "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
            },
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/openapi.json", timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
