"""`identity lockdown`, `blocks` and `sessions`."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlmodel import select

from identity.authentication.throttle import Throttle
from identity.clock import utcnow
from identity.directory.users import accounts
from identity.records.audit import AuditEvent
from identity.settings import Settings
from identity.store import Database
from identity.tokens.sessions.table import LoginSession

Command = Callable[..., Any]


def with_session(db: Database, username: str, address: str) -> str:
    with db.transaction() as session:
        user = accounts.create(session, username=username)
        until = utcnow() + timedelta(hours=1)
        login = LoginSession(
            user_id=user.id, client_id="first-party", scope="", audience="https://id.example",
            expires_at=until, access_expires_at=until, address=address,
        )  # fmt: skip
        session.add(login)
        return login.id


def first_party(db: Database) -> None:
    from identity.directory.clients.table import Client

    with db.transaction() as session:
        if session.get(Client, "first-party") is None:
            session.add(Client(id="first-party", type="public"))


def events(db: Database, name: str) -> list[AuditEvent]:
    with db.transaction() as session:
        return list(session.exec(select(AuditEvent).where(AuditEvent.event == name)))


def test_an_operator_stops_everything_and_lifts_it(identity: Command, db: Database) -> None:
    assert json.loads(identity("lockdown", "status", "--json").out)["active"] is False
    assert identity("lockdown", "on", "--reason", "Drill").code == 0
    said = json.loads(identity("lockdown", "status", "--json").out)
    assert (said["active"], said["reason"], said["actor_type"]) == (True, "Drill", "cli")
    assert "Drill" in identity("lockdown", "status").out
    assert identity("lockdown", "off").code == 0
    assert "Nothing was stopped" in identity("lockdown", "off").err
    assert len(events(db, "lockdown.begun")) == len(events(db, "lockdown.lifted")) == 1


def test_ending_every_token_asks_first(identity: Command, db: Database) -> None:
    first_party(db)
    with_session(db, "ada", "192.0.2.1")
    assert identity("lockdown", "on", "--end-tokens").code == 2
    assert json.loads(identity("lockdown", "status", "--json").out)["active"] is False
    outcome = identity("lockdown", "on", "--end-tokens", "--yes")
    assert outcome.code == 0 and "sessions ended: 1" in outcome.err
    assert json.loads(identity("sessions", "list", "--json").out) == []


def test_blocks_are_listed_and_released(
    identity: Command, db: Database, settings: Settings
) -> None:
    throttle = Throttle(settings.throttle)
    with db.transaction() as session:
        user = accounts.create(session, username="ada")
        attempt = throttle.attempt("ada", "192.0.2.1")
        for _ in range(settings.throttle.login_max_failures):
            attempt.failed(session, user.id)
    (block,) = json.loads(identity("blocks", "list", "--json").out)
    assert (block["username"], block["address"]) == ("ada", "192.0.2.1")
    assert "ada" in identity("blocks", "list").out
    assert identity("blocks", "list", "--address", "192.0.2.9", "--json").out.strip() == "[]"
    assert identity("blocks", "release", block["id"]).code == 0
    assert identity("blocks", "release", block["id"]).code == 1
    assert json.loads(identity("blocks", "list", "--json").out) == []


def test_sessions_are_listed_and_ended_by_what_they_are(identity: Command, db: Database) -> None:
    first_party(db)
    ada, bob = with_session(db, "ada", "192.0.2.1"), with_session(db, "bob", "192.0.2.2")
    listed = json.loads(identity("sessions", "list", "--json").out)
    assert {row["id"] for row in listed} == {ada, bob}
    only = json.loads(identity("sessions", "list", "--user", "ada", "--json").out)
    assert [row["id"] for row in only] == [ada]
    assert identity("sessions", "end", "--yes").code == 2
    outcome = identity("sessions", "end", "--address", "192.0.2.1", "--yes")
    assert outcome.code == 0 and "ended: 1" in outcome.err
    left = json.loads(identity("sessions", "list", "--json").out)
    assert [row["id"] for row in left] == [bob]
    assert identity("sessions", "end", bob, "--yes").code == 0
    assert json.loads(identity("sessions", "list", "--browsers", "--json").out) == []


def test_users_are_listed_by_their_last_login(identity: Command, db: Database) -> None:
    with db.transaction() as session:
        for n, name in enumerate(("late", "early")):
            user = accounts.create(session, username=name)
            user.last_login_at = utcnow() - timedelta(days=n)
            session.add(user)
        accounts.create(session, username="never")
    listed = json.loads(identity("users", "list", "--order", "last_login", "--json").out)
    assert [user["username"] for user in listed] == ["early", "late"]
    assert identity("users", "list", "--order", "name").code == 2
