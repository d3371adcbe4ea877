import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import ROOT, free_port
from tests.pages.test_in_chromium import CHROMIUM, chromium
from tests.parties.provider import Person, Provider
from tests.serving import ADMIN_PASSWORD, Server
from tests.templates import Templates

__all__ = ["chromium"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: nobody signed in")
    for item in items:
        if item.nodeid.startswith("tests/parties/"):
            item.add_marker(mark)


@pytest.fixture(scope="session")
def single_page_port() -> int:
    """Where the single-page applications of these tests are, by turns."""
    return free_port()


@pytest.fixture(scope="session")
def provider(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The real service on SQLite, which all relying parties share."""
    folder = tmp_path_factory.mktemp("provider")
    server = Server(
        folder,
        {
            "DATABASE_URL": templates.fresh("sqlite", folder),
            "KEYS_DIR": str(folder / "keys"),
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BCRYPT_ROUNDS": "4",
            "TEST_WEAK_HASHING": "1",
        },
    )
    provider = Provider(server.url)
    yield provider
    provider.close()
    server.stop()


@pytest.fixture
def person(chromium: object) -> Iterator[Person]:
    person = Person(chromium)
    yield person
    person.close()


@pytest.fixture(scope="session")
def others() -> Path:
    """The Python of the virtual environment that `make parties` makes."""
    python = ROOT / os.environ.get("PARTIES", "nowhere") / "bin" / "python"
    if not python.exists():
        pytest.skip("other relying parties are not installed: `make parties` does that")
    return python


@pytest.fixture(scope="session")
def with_npm() -> None:
    if "PARTIES" not in os.environ:
        pytest.skip("packages of npm are tried by `make parties` alone")
