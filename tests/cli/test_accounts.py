"""Seeing and changing users, clients and roles by whatever name they go."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.records.audit import AuditEvent
from identity.store import Database
from tests.cli.test_users import ended, log_in

Identity = Callable[..., Any]
PASSWORD = "tangerine harbour 71"
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def ada(identity: Identity) -> str:
    done = identity(
        "users", "create", "ada", "--email", "ada@example.com", "--password-stdin", "--json",
        stdin=PASSWORD,
    )  # fmt: skip
    found: str = json.loads(done.out)["id"]
    return found


def shown(identity: Identity, *args: str) -> Any:
    done = identity(*args, "--json")
    assert done.code == 0, done
    return json.loads(done.out)


def names(identity: Identity, *args: str) -> list[str]:
    key = "username" if args[0] == "users" else "id"
    return [one[key] for one in shown(identity, args[0], "list", *args[1:])]


async def login(api: httpx.AsyncClient, password: str) -> int:
    form = {"grant_type": "password", "username": "ada", "password": password}
    return (await api.post("/token", data=form)).status_code


async def test_whoever_failed_too_often_is_shown_as_locked_and_why_and_can_be_let_in(
    identity: Identity, api: httpx.AsyncClient, ada: str, db: Database
) -> None:
    assert "no" in identity("users", "show", "ada").out.split("locked")[1].splitlines()[0]
    for _ in range(10):
        assert await login(api, "wrong") == 400
    assert await login(api, PASSWORD) == 429
    state = shown(identity, "users", "show", "ADA@example.com")
    (lock,) = state["locked"]
    assert utcnow() < datetime.fromisoformat(lock["until"]) < utcnow() + timedelta(minutes=6)
    assert state["last_failure"]["why"] == "wrong password"
    assert state["last_failure"]["address"] == lock["address"] is not None
    text = identity("users", "show", ada).out
    assert f"{lock['address']} until 2" in text
    assert "wrong password" in text

    assert identity("users", "unlock", "ada").err == "ada is not locked.\n"
    assert shown(identity, "users", "show", "ada")["locked"] == []
    assert await login(api, PASSWORD) == 200
    with db.transaction() as session:
        query = select(AuditEvent).where(AuditEvent.event == "user.unlocked")
        assert session.exec(query).one().subject == ada


def test_a_user_is_renamed_and_loses_what_is_given_empty(identity: Identity, ada: str) -> None:
    done = identity(
        "users", "update", "ada@example.com", "--username", "Countess", "--name", "Ada L.",
        "--email-verified",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "countess is changed.\n")
    found = shown(identity, "users", "show", ada)
    assert (found["username"], found["name"], found["email_verified"]) == (
        "countess", "Ada L.", True,
    )  # fmt: skip
    identity("users", "update", ada, "--email", "", "--name", "")
    found = shown(identity, "users", "show", "countess")
    assert (found["email"], found["name"]) == (None, None)
    identity("users", "create", "bob", "--generate")
    taken = identity("users", "update", "bob", "--username", "countess")
    assert (taken.code, taken.err) == (1, "identity: the username is taken\n")
    assert identity("users", "update", "bob").code == 2


def test_sessions_are_listed_and_ended(
    identity: Identity, db: Database, settings: Any, ada: str
) -> None:
    sids = [log_in(db, settings, "ada") for _ in range(3)]
    listed = shown(identity, "users", "sessions", "ada")
    assert [one["id"] for one in listed] == sids[::-1]
    assert sids[0] in identity("users", "sessions", ada).out
    done = identity("users", "sessions", "ada", "--end", sids[0])
    assert done.err == "Sessions of ada ended: 1.\n"
    assert ended(db, sids[0]) == "ended by an administrator"
    again = identity("users", "sessions", "ada", "--end", sids[0])
    assert (again.code, again.err) == (1, f"identity: ada has no live session {sids[0]}\n")
    assert identity("users", "sessions", "ada", "--end-all").err == "Sessions of ada ended: 2.\n"
    assert identity("users", "sessions", "ada").err == "ada has no live session.\n"
    assert identity("users", "sessions", "ada", "--end-all", "--end", "x").code == 2


def test_users_are_listed_by_their_last_login(identity: Identity, db: Database, ada: str) -> None:
    identity("users", "create", "bob", "--generate")
    with db.transaction() as session:
        found = session.get(User, ada)
        assert found is not None
        found.last_login_at = utcnow() - timedelta(days=40)
    assert names(identity, "users", "--last-login-before", "30d") == ["ada"]
    assert names(identity, "users", "--last-login-before", "50d") == []
    assert names(identity, "users", "--never-logged-in") == ["bob"]
    assert names(identity, "users", "--logged-in") == ["ada"]
    assert identity("users", "list", "--last-login-before", "soon").code == 2


def test_a_client_is_shown_and_changed_by_id_or_name(identity: Identity) -> None:
    identity("clients", "create", "billing", "--name", "Billing", "--scope", "introspect")
    for letter in "ab":
        identity("scopes", "create", letter, "--audience", f"https://{letter}.example")
    found = shown(identity, "clients", "show", "Billing")
    assert (found["id"], found["scopes"], len(found["secrets"])) == ("billing", ["introspect"], 1)
    assert found["created_at"].endswith("Z")
    text = identity("clients", "show", "billing").out
    assert f"secret ..{found['secrets'][0]['hint']}" in text
    assert "digest" not in text
    done = identity(
        "clients", "update", "Billing", "--name", "Bills", "--scope", "users:read",
        "--audience", "https://a.example", "--audience", "https://b.example",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "The client billing is changed.\n")
    found = shown(identity, "clients", "show", "billing")
    assert (found["name"], found["scopes"]) == ("Bills", ["users:read"])
    assert found["audiences"] == ["https://a.example", "https://b.example"]
    identity("clients", "update", "billing", "--audience", "", "--scope", "")
    found = shown(identity, "clients", "show", "billing")
    assert (found["audiences"], found["scopes"]) == ([], [])
    assert identity("clients", "update", "billing").code == 2
    assert identity("clients", "update", "billing", "--scope", "wish").code == 1
    assert identity("clients", "show", "nobody").err == "identity: there is no client nobody\n"
    assert names(identity, "clients", "--grant", "client_credentials") == ["billing"]
    assert names(identity, "clients", "--grant", "password") == []
    identity("clients", "disable", "Bills")
    assert names(identity, "clients", "--status", "disabled") == ["billing"]
    assert identity("clients", "list", "--grant", "wish").code == 2


def test_a_name_that_means_several_is_refused_with_the_candidates(
    identity: Identity, db: Database, ada: str
) -> None:
    for client_id in ("one", "two"):
        identity("clients", "create", client_id, "--name", "Twin")
    for command in (["show"], ["rotate-secret"], ["disable"], ["delete", "--yes"]):
        done = identity("clients", command[0], "Twin", *command[1:])
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            "identity: Twin may be any of one (Twin), two (Twin): say which by its id\n"
        )
    with db.transaction() as session:
        session.add(Client(id="Twin", name="An id goes first"))
    assert shown(identity, "clients", "show", "Twin")["name"] == "An id goes first"


def test_an_id_means_its_user_even_if_somebody_took_it_for_a_name(
    identity: Identity, ada: str
) -> None:
    identity("users", "create", ada, "--generate")
    assert shown(identity, "users", "show", ada)["username"] == "ada"
    assert identity("users", "delete", ada, "--yes").code == 0
    assert shown(identity, "users", "show", ada)["username"] == ada


def test_events_are_found_by_names(identity: Identity, ada: str) -> None:
    identity("clients", "create", "billing", "--name", "Billing")
    for subject in ("ada", "ADA@example.com", ada):
        (event,) = shown(identity, "audit", "list", "--subject", subject)
        assert (event["event"], event["subject"]) == ("user.created", ada)
    assert {e["subject"] for e in shown(identity, "audit", "list", "--subject", "Billing")} == {
        "billing"
    }


def test_a_role_is_shown_and_changed(identity: Identity, ada: str) -> None:
    identity("roles", "create", "clerk", "--scope", "users:read", "--description", "At the desk")
    identity("users", "grant", "ada", "clerk")
    found = shown(identity, "roles", "show", "clerk")
    assert (found["scopes"], found["users"]) == (["users:read"], ["ada"])
    assert "At the desk" in identity("roles", "show", "clerk").out
    assert identity("roles", "update", "clerk", "--scope", "roles:read").code == 0
    assert shown(identity, "roles", "show", "clerk")["scopes"] == ["roles:read"]
    identity("roles", "update", "clerk", "--scope", "", "--description", "")
    found = shown(identity, "roles", "show", "clerk")
    assert (found["scopes"], found["description"]) == ([], "")
    assert identity("roles", "update", "clerk").code == 2
    builtin = identity("roles", "update", "admin", "--scope", "users:read")
    assert (builtin.code, "built-in role" in builtin.err) == (1, True)


async def test_stats_say_what_the_api_says(
    identity: Identity, api: httpx.AsyncClient, ada: str
) -> None:
    assert await login(api, PASSWORD) == 200
    assert await login(api, "wrong") == 400
    found = shown(identity, "stats", "--hours", "2")
    assert [hour["logins"] for hour in found["hours"]][-1] == 1
    assert sum(hour["failures"] for hour in found["hours"]) == 1
    assert (found["users"]["total"], found["sessions"]) == (2, 1)
    text = identity("stats").out
    assert "sessions  1" in text
    assert len(text.splitlines()) == 3 + 1 + 24
    assert identity("stats", "--hours", "0").code == 2


@SQLITE
def test_a_shell_completes_commands_and_names(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, ada: str
) -> None:
    identity("clients", "create", "billing")

    def offered(words: str) -> list[str]:
        monkeypatch.setenv("_IDENTITY_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"identity {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
        done = identity()
        monkeypatch.delenv("_IDENTITY_COMPLETE")
        assert done.code == 0, done
        listed: list[str] = done.out.split()
        return listed

    assert offered("users unl") == ["unlock"]
    assert offered("users show a") == ["ada"]
    assert offered("clients delete b") == ["billing"]
    assert offered("roles show a") == ["admin"]
    monkeypatch.setenv("IDENTITY_DATABASE_URL", "sqlite:///nowhere.db")
    assert offered("users show a") == []
