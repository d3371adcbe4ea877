"""`identity doctor`: what is wrong, and how to mend it."""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import update
from sqlmodel import select

from identity.authentication.passkeys.table import Passkey
from identity.cli.doctor import checkup
from identity.clock import frozen, utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.keys import master
from identity.service.bootstrap import prepare_database
from identity.store import Database
from identity.store.turns import CONTRACTED, EXPANDED
from identity.tokens.logouts import LogoutNotice
from tests.databases import free_port
from tests.serving import ADMIN_PASSWORD

Identity = Callable[..., Any]
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here has a clock that jumps but the one that says so."""
    monkeypatch.setattr(checkup, "WATCHED", 0.0)


@pytest.fixture
def prepared(db: Database, settings: Any) -> None:
    prepare_database(db, settings)


def problems(done: Any) -> dict[str, str]:
    """what → words and how to mend it, of all problems."""
    return {
        one["what"]: f"{one['words']} -> {one['mend']}"
        for one in json.loads(done.out)
        if one["level"] == "problem"
    }


def examine(identity: Identity) -> Any:
    return identity("doctor", "--offline", "--json")


def test_a_new_database_is_well_and_notes_say_what_the_first_start_makes(
    identity: Identity, tmp_path: Path
) -> None:
    done = identity("doctor", "--offline")
    assert (done.code, done.err) == (0, "")
    assert "note     signing key" in done.out
    assert not (tmp_path / "keys").exists()


@pytest.mark.usefixtures("prepared")
def test_a_prepared_database_is_well_and_nothing_secret_is_shown(
    identity: Identity, tmp_path: Path, database_url: str
) -> None:
    done = examine(identity)
    assert (done.code, problems(done)) == (0, {})
    key = (tmp_path / "keys" / master.FILE).read_text().strip()
    assert key not in done.out
    assert ADMIN_PASSWORD not in done.out
    if password := urlsplit(database_url).password:
        assert password not in done.out


@SQLITE
def test_a_setting_that_is_wrong_is_a_problem_and_the_first(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_PORT", "web")
    done = examine(identity)
    assert done.code == 1
    assert "IDENTITY_PORT" in problems(done)["settings"]


def test_a_database_that_cannot_be_used_is_a_problem(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in (
        f"postgresql://identity:hunter2@127.0.0.1:{free_port()}/x",
        f"sqlite:///{tmp_path}/missing.db",
    ):
        monkeypatch.setenv("IDENTITY_DATABASE_URL", url)
        done = examine(identity)
        assert (done.code, "database" in problems(done)) == (1, True)
        assert "hunter2" not in done.out


def test_a_schema_that_is_behind_is_a_problem(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, empty_database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.db").touch(0o600)
    monkeypatch.setenv("IDENTITY_DATABASE_URL", empty_database_url)
    assert "identity migrate" in problems(examine(identity))["schema"]


@pytest.mark.usefixtures("prepared")
def test_the_master_keys_file_is_checked_and_never_made(identity: Identity, tmp_path: Path) -> None:
    file = tmp_path / "keys" / master.FILE
    file.chmod(0o644)
    assert "chmod 600" in problems(examine(identity))["master key"]
    file.unlink()
    assert "restore it" in problems(examine(identity))["master key"]
    assert not file.exists()


@SQLITE
@pytest.mark.usefixtures("prepared")
def test_a_database_file_that_others_may_read_is_a_problem(
    identity: Identity, tmp_path: Path
) -> None:
    (tmp_path / "identity.db").chmod(0o644)
    assert "chmod 600" in problems(examine(identity))["database"]


@pytest.mark.usefixtures("prepared")
def test_a_key_that_nobody_rotates_is_a_problem(identity: Identity) -> None:
    with frozen(utcnow() + timedelta(days=40)):
        assert "identity keys rotate" in problems(examine(identity))["signing key"]


@pytest.mark.usefixtures("prepared")
def test_a_client_under_the_id_of_a_user_is_a_problem(identity: Identity, db: Database) -> None:
    with db.transaction() as session:
        user = session.exec(select(User)).one()
        session.add(Client(id=user.id))
    said = problems(examine(identity))["clients"]
    assert user.id in said and f"identity clients delete {user.id}" in said


@pytest.mark.usefixtures("prepared")
def test_passkeys_of_another_domain_are_a_problem(
    identity: Identity, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.transaction() as session:
        user = session.exec(select(User)).one()
        session.add_all(
            Passkey(
                user_id=user.id, rp_id="id.old.example", credential_id=f"c{number}", sign_count=0,
                public_key="", name="Key", aaguid="", backup_eligible=True, backed_up=True,
            )
            for number in range(2)
        )  # fmt: skip
    everything = json.loads(examine(identity).out)
    said = [one["words"] for one in everything if one["what"] == "passkeys"]
    assert len(said) == 2 and "issuer is an IP address" in said[1]
    monkeypatch.setenv("IDENTITY_ISSUER", "https://id.new.example")
    said = problems(examine(identity))["passkeys"]
    assert "2 belong to id.old.example and are no good at id.new.example" in said
    assert "IDENTITY_RP_ID=id.old.example" in said
    monkeypatch.setenv("IDENTITY_RP_ID", "id.old.example")
    monkeypatch.setenv("IDENTITY_RELATED_ORIGINS", "https://id.new.example")
    assert "passkeys" not in problems(examine(identity))


@pytest.mark.usefixtures("prepared")
def test_a_clock_that_is_behind_is_a_problem(identity: Identity) -> None:
    with frozen(utcnow() - timedelta(hours=1)):
        assert "clock" in problems(examine(identity))
    with frozen(utcnow() - timedelta(days=3650)):
        assert "clock" in problems(examine(identity))


@SQLITE
@pytest.mark.usefixtures("prepared")
def test_a_clock_that_jumps_while_it_is_watched_is_a_problem(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([1000.0, 1000.5])
    jumping = SimpleNamespace(time=lambda: next(said), sleep=time.sleep, monotonic=time.monotonic)
    monkeypatch.setattr(checkup, "time", jumping)
    assert "it jumped by +" in problems(examine(identity))["clock"]


@pytest.mark.usefixtures("prepared")
def test_the_first_users_password_left_as_set_is_a_problem(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_BOOTSTRAP_ADMIN_PASSWORD", ADMIN_PASSWORD)
    done = examine(identity)
    assert "set-password admin" in problems(done)["users"]
    assert ADMIN_PASSWORD not in done.out
    identity("users", "set-password", "admin", "--generate")
    assert problems(examine(identity)) == {}


@pytest.mark.usefixtures("prepared")
def test_no_administrator_at_all_is_a_problem(identity: Identity, db: Database) -> None:
    from identity.directory.users.table import User

    with db.transaction() as session:
        session.execute(update(User).values(status="disabled"))
    assert "identity users grant" in problems(examine(identity))["users"]


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_more_connections_than_the_database_takes_are_a_problem(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_DATABASE_POOL", "200")
    assert "max_connections" in problems(examine(identity))["pool"]


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_it_says_which_timeline_the_database_is_at_and_who_writes(
    identity: Identity, database_url: str
) -> None:
    def found(what: str) -> str:
        done = json.loads(examine(identity).out)
        return next(str(one["words"]) for one in done if one["what"] == what)

    assert found("replication") == "timeline 1, no standby is connected"
    insert = "INSERT INTO change (kind, ref, at) VALUES ('user.changed', 'ada', now())"
    with psycopg.connect(database_url) as writer:
        writer.execute(insert)
        with psycopg.connect(database_url) as other:  # a later one has ended
            other.execute(insert)
        told = r"the oldest open writer has been at it for \d+ s, 1 changes since"
        assert re.fullmatch(told, found("change feed"))
        writer.rollback()


@SQLITE
@pytest.mark.usefixtures("prepared")
def test_weak_values_of_development_are_pointed_out(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HOST", "0.0.0.0")
    monkeypatch.setenv("IDENTITY_WORKERS", "64")
    done = identity("doctor", "--offline")
    assert "IDENTITY_ENVIRONMENT=production" in done.out
    assert "64 processes share" in done.out
    monkeypatch.setenv("IDENTITY_ENVIRONMENT", "production")
    monkeypatch.setenv("IDENTITY_BCRYPT_ROUNDS", "12")
    assert "IDENTITY_ISSUER" in problems(examine(identity))["settings"]


@SQLITE
@pytest.mark.usefixtures("prepared")
def test_a_service_that_does_not_answer_is_only_noted(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_PORT", str(free_port()))
    done = identity("doctor")
    assert (done.code, "note     service" in done.out) == (0, True)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("dialect", ["postgresql"])
def test_writers_that_take_turns_for_older_versions_are_a_note(
    identity: Identity, database_url: str
) -> None:
    assert "--contract" not in examine(identity).out
    with psycopg.connect(database_url) as connection:
        connection.execute(f"ALTER TABLE {CONTRACTED} RENAME TO {EXPANDED}")
    done = examine(identity)
    assert done.code == 0
    assert "identity migrate --contract" in done.out


@pytest.mark.usefixtures("prepared")
def test_it_says_which_clients_could_not_be_told_of_logouts(
    identity: Identity, db: Database
) -> None:
    assert "clients have been told" in examine(identity).out
    with db.transaction() as session:
        session.add(Client(id="shop"))
        session.flush()
        now = utcnow()
        for age, sid in ((1, "fresh"), (20, "late")):
            noted = now - timedelta(minutes=age)
            notice = {"client_id": "shop", "user_id": "ada", "noted_at": noted, "due_at": now}
            session.add(LogoutNotice(session_id=sid, **notice))
    assert "shop could not be told of 1 that ended" in examine(identity).out
