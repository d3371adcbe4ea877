"""What every test may ask for: fresh databases, settings, the service in or out of process."""

import gc
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx
import pytest
from hypothesis import settings as hypothesis_settings

from tests import dialects, folders, made_once, parked, real
from tests.databases import Postgres, usual_settings
from tests.dialects import DIALECTS
from tests.serving import ADMIN_PASSWORD, Server, running
from tests.templates import Templates
from tests.transport import served
from tests.world import World

if TYPE_CHECKING:
    from identity.store import Database

hypothesis_settings.register_profile("default", deadline=None)
hypothesis_settings.register_profile("fuzz", deadline=None, max_examples=20_000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A run starts hundreds of processes of the service, each of which would compile it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As `identity serve` has it, roughly: most tests make little garbage that refers to itself.
gc.set_threshold(10_000, 20, 20)

# Whoever asks without a limit of its own waits as long as a busy machine takes.
for phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 60.0)

# Where pytest makes its folders, unless somebody says where.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folders.place(programs=True)))

# A test never depends on the settings of whoever runs it.
for name in [name for name in os.environ if name.startswith("IDENTITY_")]:
    del os.environ[name]


real.watch()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    dialects.mark(items)
    real.mark(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    with real.held_to_its_word(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    with real.held_to_its_word(item):
        return (yield)


def pytest_collection_finish() -> None:
    """What is there now stays: it is not to be looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    templates = Templates(tmp_path_factory.mktemp("templates"))
    yield templates
    templates.close()


@pytest.fixture(scope="session")
def postgres(templates: Templates) -> Postgres:
    """The tests' PostgreSQL server; whoever stops it makes a `Postgres()` of their own instead."""
    return templates.postgres


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Runs the test on both databases; `@pytest.mark.parametrize("dialect", ["sqlite"])` on one."""
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def _made_once(templates: Templates) -> Iterator[made_once.RsaKeys]:
    keys, started = made_once.RsaKeys(), made_once.starts(templates.has_started)
    with (
        made_once.statements(),
        made_once.routes(),
        made_once.descriptions(),
        made_once.templates(),
        made_once.commands(),
        started,
        keys.generated(),
        parked.connections(),
    ):
        yield keys


@pytest.fixture(autouse=True)
def _rsa_keys(_made_once: made_once.RsaKeys) -> Iterator[None]:
    with _made_once.for_test():
        yield


PATIENCE = 30.0
"""Seconds that a request to a service in this process may wait for its database: a machine that is
busy, or stands still, is no fault of the service."""


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only a test of `deadlines` holds the service to its own."""
    from identity.store import deadlines

    if request.node.get_closest_marker("deadlines") is not None:
        yield
    else:
        with mock.patch.object(deadlines, "BUDGET", PATIENCE):
            yield


@pytest.fixture
def first_start(request: pytest.FixtureRequest) -> bool:
    """Whether `database_url` has its first start behind it, and its master key beside it: where
    the test runs the service, unless it is marked `first_start`."""
    runs = not {"app", "server"}.isdisjoint(request.fixturenames)
    return runs and request.node.get_closest_marker("first_start") is None


@pytest.fixture
def id_token_algorithms() -> str:
    """As the setting; a module about keys says "", and has one line of them."""
    return "ES256 RS256"


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest,
    dialect: str,
    first_start: bool,
    id_token_algorithms: str,
    templates: Templates,
    tmp_path: Path,
) -> Iterator[str]:
    """A fresh, migrated database."""
    started = id_token_algorithms if first_start else None
    standing = dialects.may_stand(request.node)
    url = templates.fresh(dialect, tmp_path, started=started, standing=standing)
    yield url
    templates.discard(url)


@pytest.fixture
def empty_database_url(dialect: str, templates: Templates, tmp_path: Path) -> Iterator[str]:
    """A fresh database without any table."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = templates.postgres.create()
        yield url
        templates.discard(url)


@pytest.fixture
def make_settings(
    database_url: str, id_token_algorithms: str, tmp_path: Path
) -> Callable[..., Any]:
    """Settings for this test's database; keyword arguments are settings in small letters."""
    return partial(
        usual_settings,
        database_url=database_url,
        keys_dir=tmp_path / "keys",
        id_token_algorithms=id_token_algorithms,
    )


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings()


@pytest.fixture
def db(settings: Any) -> Iterator["Database"]:
    """This test's database with the hooks that the service and every command have."""
    from identity.service.opening import open_database

    db = open_database(settings)
    yield db
    db.close()


@pytest.fixture
async def app(settings: Any) -> AsyncIterator[Any]:
    """The whole service in this process, started."""
    from identity.app import create_app

    app = create_app(settings)
    async with running(app):
        yield app


@pytest.fixture
async def api(app: Any, settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` without credentials."""
    async with httpx.AsyncClient(transport=served(app), base_url=settings.issuer) as client:
        yield client


@pytest.fixture
async def world(app: Any, api: httpx.AsyncClient) -> World:
    """`app` with means to fill it with users, clients and scopes, and to ask it."""
    return World(app, api)


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`server(workers=2, ACCESS_TOKEN_TTL="5s")` starts the real command on this test's database.

    None takes one of the fixture's own settings out. Called twice, it starts a second replica:
    same database, same keys. All end with the test.
    """
    ends = ExitStack()

    def start(workers: int = 1, port: int | None = None, **changed: str | None) -> Server:
        chosen: dict[str, str | None] = {
            "DATABASE_URL": database_url,
            "KEYS_DIR": str(tmp_path / "keys"),
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BCRYPT_ROUNDS": "4",
            "TEST_WEAK_HASHING": "1",
            "MAIL_FOLDER": "off",
            **changed,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        server = Server(tmp_path, given, workers=workers, port=port)
        ends.callback(server.stop)
        return server

    with ends:
        yield start
