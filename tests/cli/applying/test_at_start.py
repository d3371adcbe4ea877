"""`IDENTITY_APPLY`: every start applies the files before it answers."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from identity.cli.applying import at_start
from identity.directory.access.table import Role
from identity.directory.clients.table import Client
from identity.records.audit import AuditEvent
from identity.settings import Settings, SettingsError
from identity.store import Database
from tests.cli.applying.test_apply import SECRET, SHOP, events, names
from tests.databases import environment

Write = Callable[..., Path]


@pytest.fixture
def started(settings: Settings, write: Write) -> Callable[[str], None]:
    """What a start does with a file of this text."""

    def start(text: str) -> None:
        chosen = settings.bootstrap.model_copy(update={"apply": (write(text),)})
        at_start.apply(settings.model_copy(update={"bootstrap": chosen}))

    return start


def test_a_start_adds_and_changes_and_removes_nothing(
    started: Callable[[str], None], db: Database
) -> None:
    started(SHOP)
    assert names(db, Client.id) >= {"shop", "gateway"}
    started("roles: {clerk: {description: Again}}")
    with db.transaction() as session:
        assert session.get_one(Role, "clerk").description == "Again"
    assert names(db, Client.id) >= {"shop", "gateway"}
    applied = [event for event in events(db) if event.event == "configuration.applied"]
    assert [event.actor_type for event in applied] == ["system", "system"]
    assert all(event.request_id for event in applied)
    started("roles: {clerk: {description: Again}}")
    assert len([e for e in events(db) if e.event == "configuration.applied"]) == 2


def test_a_file_that_is_wrong_refuses_the_start_in_one_line(
    started: Callable[[str], None], db: Database, tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(SettingsError) as refused:
        started("roles:\n  clerk: {a: 1}\nclients: []\n")
    assert str(refused.value) == (
        f"IDENTITY_APPLY: {tmp_path}/shop.yaml:2: /roles/clerk/a: there is no such member "
        "(and 1 more)"
    )
    with db.transaction() as session:
        session.add(Role(name="clerk", description="By hand"))
    with pytest.raises(SettingsError, match=r"--adopt takes it over$"):
        started("roles: {clerk: {}}")
    gone = settings.bootstrap.model_copy(update={"apply": (tmp_path / "gone.yaml",)})
    with pytest.raises(SettingsError, match=r"^IDENTITY_APPLY: .*gone.yaml: No such file"):
        at_start.apply(settings.model_copy(update={"bootstrap": gone}))


def test_several_that_start_at_once_make_everything_once(
    started: Callable[[str], None], db: Database
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(started, SHOP) for _ in range(4)]:
            done.result(60)
    with db.transaction() as session:
        query = select(AuditEvent.subject).where(col(AuditEvent.event) == "client.created")
        assert sorted(session.exec(query)) == ["gateway", "shop"]
        query = select(AuditEvent.event).where(col(AuditEvent.event) == "configuration.applied")
        assert len(session.exec(query).all()) == 1


def test_the_service_answers_as_its_file_says(
    server: Callable[..., Any], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        "clients: {shop: {grant_types: [client_credentials], secrets: [{env: SHOP_SECRET}]}}"
    )
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    running = server(APPLY=str(file))
    answer = httpx.post(
        f"{running.url}/token", data={"grant_type": "client_credentials"}, auth=("shop", SECRET)
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_command_does_not_start_with_a_file_that_is_wrong(
    database_url: str, write: Write, tmp_path: Path
) -> None:
    file = write("roles:\n  clerk: {a: 1}\n")
    settings = {
        "DATABASE_URL": database_url, "KEYS_DIR": str(tmp_path / "keys"), "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1", "PORT": "0", "APPLY": f"{file}, {file}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "identity", "serve"], cwd=tmp_path, env=environment(**settings),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"identity: IDENTITY_APPLY: {file}:2: /roles/clerk/a: there is")
    assert done.stderr.count("\n") == 1
