"""The first start makes what a service needs, and says the administrator's password once; every
later start changes nothing."""

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from identity.app import create_app
from identity.directory.access.granting import BUILT_IN, OPENID
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User, UserRole
from identity.keys.table import SigningKey
from identity.records.audit import AuditEvent
from identity.service.bootstrap import first_start, welcome
from identity.service.tables import metadata
from identity.service.wiring import open_database
from identity.settings import Settings, SettingsError
from identity.store import Database
from tests.databases import environment, migrate, wait_until
from tests.serving import Server, running

pytestmark = pytest.mark.first_start


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def make(make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    """Settings without the administrator's password, unless one is given."""

    def make(**changed: Any) -> Settings:
        return make_settings(**{"bootstrap_admin_password": None, **changed})

    return make


def contents(settings: Settings) -> dict[str, list[Any]]:
    """Every row of every table."""
    db = Database(settings)
    try:
        with db.transaction() as session:
            return {
                name: sorted(map(repr, session.execute(table.select()).all()))
                for name, table in metadata.tables.items()
            }
    finally:
        db.close()


def started(settings: Settings) -> str | None:
    """A start that goes well, and what it tells whoever made it."""
    first_start(settings)
    return welcome(settings)


def password_in(said: str | None) -> str:
    found = re.search(r"^ +password +(\S+)$", said or "", re.MULTILINE)
    assert found, said
    return found[1]


def test_the_first_start_makes_what_a_service_needs(make: Callable[..., Settings]) -> None:
    settings = make()
    started(settings)
    db = open_database(settings)
    with db.transaction() as session:
        assert set(session.exec(select(Scope.name)).all()) == BUILT_IN.keys()
        held = session.exec(select(RoleScope.scope).where(RoleScope.role == "admin")).all()
        assert set(held) == BUILT_IN.keys()
        [client] = session.exec(select(Client)).all()
        assert (client.id, client.type, client.builtin) == ("first-party", "public", True)
        [key] = session.exec(select(SigningKey)).all()
        assert (key.state, key.algorithm) == ("active", "ES256")
        [admin] = session.exec(select(User)).all()
        assert (admin.username, admin.must_change_password) == ("admin", False)
        assert session.exec(select(UserRole.role)).all() == ["admin"]
        events = session.exec(select(AuditEvent)).all()
        assert {event.actor_type for event in events} == {"system"}
        assert "service.bootstrapped" in {event.event for event in events}
    db.close()


def test_a_second_start_changes_nothing(make: Callable[..., Settings]) -> None:
    settings = make()
    assert started(settings)
    before = contents(settings)
    assert started(settings) is None
    assert contents(settings) == before
    # Not even when the settings of the first user have changed meanwhile.
    assert started(make(bootstrap_admin_username="root")) is None
    assert contents(settings) == before


async def test_the_random_password_is_said_once_and_logs_in(make: Callable[..., Settings]) -> None:
    settings = make()
    said = started(settings)
    password = password_in(said)
    assert len(password) == 24
    assert all(password not in str(rows) for rows in contents(settings).values())
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://t") as api:
        # The command that is printed is ready to be pasted.
        command = (said or "").partition("curl")[2].replace("\\\n", " ")
        words = shlex.split(command)
        assert words[-1] == "http://127.0.0.1:8000/token"
        form = dict(word.split("=", 1) for word in words[1:-1:2])
        assert words[0:-1:2] == ["-d"] * len(form)
        answer = await api.post("/token", data=form)
        assert answer.status_code == 200
        assert set(answer.json()["scope"].split()) == BUILT_IN.keys() - OPENID.keys()


def test_a_scope_that_bears_the_name_of_one_built_in_since_refuses_the_start(
    make: Callable[..., Settings],
) -> None:
    """Every user holds `account`; who trusts a scope of that name of their own means another."""
    settings = make()
    db = Database(settings)
    with db.transaction() as session:
        session.add(Scope(name="account", audience="https://bank.example"))
    with pytest.raises(SettingsError, match="identity scopes delete account"):
        first_start(settings)
    with db.transaction() as session:
        session.delete(session.get(Scope, "account"))
    first_start(settings)
    db.close()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_two_services_are_given_two_passwords(
    make: Callable[..., Settings], tmp_path: Path
) -> None:
    first = password_in(started(make()))
    migrate(f"sqlite:///{tmp_path / 'two.db'}")
    second = password_in(started(make(database_url=f"sqlite:///{tmp_path / 'two.db'}")))
    assert first != second


@SQLITE
async def test_a_given_password_is_not_repeated(make: Callable[..., Settings]) -> None:
    given = "p'a\"s$s w%+&rd é"
    settings = make(bootstrap_admin_username="Root", bootstrap_admin_password=given)
    assert started(settings) is None
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://t") as api:
        form = {"grant_type": "password", "username": "root", "password": given}
        assert (await api.post("/token", data=form)).status_code == 200


@SQLITE
@pytest.mark.parametrize("password", ["short", "password", "admin", "x" * 2000, "administrator"])
def test_a_bad_password_for_the_first_user_refuses_the_start(
    make: Callable[..., Settings], password: str
) -> None:
    settings = make(bootstrap_admin_username="administrator", bootstrap_admin_password=password)
    with pytest.raises(SettingsError, match=r"^IDENTITY_BOOTSTRAP_ADMIN_PASSWORD: ") as raised:
        first_start(settings)
    assert f"{password!r}" not in str(raised.value)
    assert contents(settings)["user_account"] == []


@SQLITE
def test_production_wants_the_first_password_set(make: Callable[..., Settings]) -> None:
    production = {"environment": "production", "bcrypt_rounds": 12}
    with pytest.raises(SettingsError, match="IDENTITY_BOOTSTRAP_ADMIN_PASSWORD: production"):
        first_start(make(**production))
    started(make())
    assert started(make(**production)) is None  # there is a user


@SQLITE
def test_a_bad_name_for_the_first_user_refuses_the_start_by_name(
    make: Callable[..., Settings],
) -> None:
    with pytest.raises(SettingsError, match="IDENTITY_BOOTSTRAP_ADMIN_USERNAME"):
        first_start(make(bootstrap_admin_username="two words"))


def test_whoever_made_users_first_gets_no_administrator(make: Callable[..., Settings]) -> None:
    """An import before the first start: nobody is given a password that nobody asked for."""
    settings = make()
    db = open_database(settings)
    with db.transaction() as session:
        accounts.create(session, username="ada")
    db.close()
    assert started(settings) is None
    assert len(contents(settings)["user_account"]) == 1
    assert len(contents(settings)["client"]) == 1


def test_what_a_newer_version_brings_is_added_at_its_start(make: Callable[..., Settings]) -> None:
    settings = make()
    started(settings)
    whole = contents(settings)
    db = open_database(settings)
    with db.transaction() as session:  # as a version that did not know `introspect` left it
        session.delete(session.get(RoleScope, ("admin", "introspect")))
        session.flush()
        session.delete(session.get(Scope, "introspect"))
        role = session.get(Role, "admin")
        assert role is not None
    db.close()
    assert started(settings) is None
    again = contents(settings)
    assert again["role_scope"] == whole["role_scope"]
    assert len(again["scope"]) == len(whole["scope"])


@SQLITE
def test_a_database_that_was_not_migrated_refuses_the_start(
    make: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="run `identity migrate`"):
        first_start(make(database_url=f"sqlite:///{tmp_path / 'bare.db'}"))


STARTS = """
from identity.service.bootstrap import first_start, welcome
from identity.settings import Settings
first_start(Settings.load())
print(welcome(Settings.load()) or "")
"""


def test_replicas_that_start_at_once_make_one_of_everything(
    make: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make()
    env = environment(
        DATABASE_URL=settings.database.database_url.get_secret_value(),
        KEYS_DIR=str(settings.keys.keys_dir),
        BCRYPT_ROUNDS="4",
        TEST_WEAK_HASHING="1",
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STARTS],
            env=env,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    welcomes = []
    for process in processes:
        said, complained = process.communicate(timeout=60)
        assert process.returncode == 0, complained
        welcomes.append(said.strip())
    assert sorted(map(bool, welcomes)) == [False, False, True]
    rows = contents(settings)
    assert len(rows["user_account"]) == len(rows["client"]) == 1
    assert len(rows["signing_key"]) == 2  # ES256, and RS256 for ID tokens
    assert len(rows["scope"]) == len(BUILT_IN)


@SQLITE
async def test_an_application_alone_makes_no_user_whose_password_nobody_is_told(
    make: Callable[..., Settings],
) -> None:
    settings = make()
    async with running(create_app(settings)):
        assert contents(settings)["user_account"] == []


# --- The command ----------------------------------------------------------------------------


@SQLITE
@pytest.mark.parametrize("workers", [1, 2])
def test_the_password_is_said_once_the_service_answers_and_not_when_it_cannot(
    server: Callable[..., Server], make: Callable[..., Settings], workers: int, tmp_path: Path
) -> None:
    migrated = make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [sys.executable, "-m", "identity", "serve", "--port", str(port),
             "--workers", str(workers)],
            env=environment(
                DATABASE_URL=migrated.database.database_url.get_secret_value(),
                KEYS_DIR=str(migrated.keys.keys_dir), BCRYPT_ROUNDS="4", TEST_WEAK_HASHING="1",
            ),
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert refused.returncode == 1
    assert "cannot listen" in refused.stderr and "password" not in refused.stdout
    assert contents(migrated)["user_account"] == []

    service = server(workers=workers, BOOTSTRAP_ADMIN_PASSWORD=None)
    wait_until(lambda: "curl" in service.log.read_text(), 10, service.log.read_text)
    said = service.log.read_text()
    assert said.index('"serving"') < said.index("password  ")
    form = {"grant_type": "password", "username": "admin", "password": password_in(said)}
    assert httpx.post(f"{service.url}/token", data=form).status_code == 200
    service.stop()
    again = server(workers=workers, BOOTSTRAP_ADMIN_PASSWORD=None)
    again.stop()
    assert "password  " not in again.log.read_text()
