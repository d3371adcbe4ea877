"""`identity audit …`: the trail, and the chain that shows whether somebody wrote in it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, delete, select

from identity.cli.frame import system_user
from identity.clock import utcnow
from identity.keys import master
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.store import Database

Identity = Callable[..., Any]


@pytest.fixture
def sealed(identity: Identity, db: Database, settings: Any) -> None:
    """Three events of which two are sealed."""
    for name in ("ada", "bob"):
        identity("users", "create", name, "--generate")
    with db.transaction() as session:
        audit.seal(session, master.load(session, settings).derive("audit"))
    identity("users", "disable", "bob")


def head(done: Any) -> str:
    (line,) = [line for line in done.out.splitlines() if line.startswith("head: ")]
    return str(line.removeprefix("head: "))


@pytest.mark.usefixtures("sealed")
def test_events_are_listed_latest_last_and_can_be_narrowed(
    identity: Identity, db: Database
) -> None:
    def events(*args: str) -> list[str]:
        done = identity("audit", "list", "--json", *args)
        return [f"{one['event']} {one['detail'].get('username')}" for one in json.loads(done.out)]

    assert events() == ["user.created ada", "user.created bob", "user.disabled None"]
    assert events("--limit", "1") == ["user.disabled None"]
    assert events("--event", "user.created") == ["user.created ada", "user.created bob"]
    assert len(events("--event", "user.")) == 3
    assert len(events("--event", "user.*")) == 3
    assert events("--event", "user") == []
    assert len(events("--outcome", "success")) == 3
    assert events("--outcome", "refused") == []
    assert len(events("--actor", system_user())) == 3
    assert events("--actor", "nobody") == []
    with db.transaction() as session:
        subject = session.exec(select(AuditEvent.subject)).first()
    assert events("--subject", str(subject)) == ["user.created ada"]
    assert len(events("--since", "1h")) == 3
    assert events("--since", (utcnow() + timedelta(hours=1)).isoformat()) == []
    assert events("--until", "2020-01-01") == []
    assert events("--since", "999999999999d") == events()
    table = identity("audit", "list").out
    assert ("username=ada" in table, system_user() in table) == (True, True)
    assert identity("audit", "list", "--since", "yesterday").code == 2


@pytest.mark.usefixtures("sealed")
def test_a_whole_chain_verifies_and_tells_its_head_without_writing(
    identity: Identity, db: Database
) -> None:
    done = identity("audit", "verify")
    assert (done.code, done.err) == (0, "The chain is whole.\n")
    assert head(done).startswith("2:")
    assert "unsealed: 1\n" in done.out
    assert identity("audit", "verify", "--head", head(done)).code == 0
    as_json = json.loads(identity("audit", "verify", "--json").out)
    assert (as_json["ok"], as_json["faults"], as_json["unsealed"]) == (True, [], 1)
    assert f"{as_json['head']['seq']}:{as_json['head']['digest']}" == head(done)
    with db.transaction() as session:
        assert len(session.exec(select(AuditEvent.id)).all()) == 3


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (update(AuditEvent).where(col(AuditEvent.seq) == 1).values(actor="eve"), "was changed"),
        (delete(AuditEvent).where(col(AuditEvent.seq) == 1), "are missing"),
        (delete(AuditEvent).where(col(AuditEvent.seq) == 2), "cut off"),
    ],
)
def test_a_chain_that_was_tampered_with_does_not_verify(
    identity: Identity, db: Database, damage: Any, words: str
) -> None:
    with db.transaction() as session:
        session.execute(damage)
    done = identity("audit", "verify")
    assert (done.code, done.err) == (1, "The chain is broken.\n")
    assert done.out.startswith("fault: ")
    assert words in done.out


@pytest.mark.usefixtures("sealed")
def test_a_head_from_the_logs_that_is_not_in_the_chain_is_a_fault(identity: Identity) -> None:
    seq, digest = head(identity("audit", "verify")).split(":")
    rewritten = identity("audit", "verify", "--head", f"{seq}:{digest[::-1]}")
    assert (rewritten.code, "written anew" in rewritten.out) == (1, True)
    cut = identity("audit", "verify", "--head", f"7:{digest}")
    assert (cut.code, "cut off" in cut.out) == (1, True)
    for malformed in ("7", "x:y", f"{'9' * 30}:{digest}"):
        assert identity("audit", "verify", "--head", malformed).code == 2


def test_nothing_sealed_yet_is_no_fault_and_no_master_key_is_said(
    identity: Identity, db: Database, settings: Any
) -> None:
    missing = identity("audit", "verify")
    assert (missing.code, "master.key: is missing" in missing.err) == (1, True)
    with db.transaction() as session:
        master.load(session, settings)
    done = identity("audit", "verify")
    assert (done.code, head(done)) == (0, "none, nothing is sealed yet")
    assert identity("audit", "list").err == "There are no such events.\n"


@pytest.mark.usefixtures("sealed")
def test_old_events_are_archived_and_files_verify_without_the_database(
    identity: Identity, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = head(identity("audit", "verify"))
    assert identity("audit", "archive").code == 2
    assert "IDENTITY_AUDIT_RETENTION" in identity("audit", "archive").err
    done = identity("audit", "archive", "--before", "0s")
    assert (done.code, done.err) == (0, "Events archived: 2.\n")
    first = done.out.strip()
    whole = identity("audit", "verify")
    assert (whole.code, f"archived: {archived}\n" in whole.out) == (0, True)
    assert identity("audit", "verify", "--head", archived).code == 0
    early = identity("audit", "verify", "--head", f"1:{'0' * 64}")
    assert (early.code, "is archived" in early.out) == (1, True)
    listed = json.loads(identity("audit", "list", "--json").out)
    assert [one["event"] for one in listed] == ["user.disabled", "audit.archived"]

    assert identity("keys", "rotate-master").code == 0
    assert identity("keys", "rotate-master", "--drop-old").code == 0  # which seals
    assert identity("audit", "verify").code == 0
    second = identity("audit", "archive", "--before", "0s").out.strip()
    stale = identity("audit", "verify", first)
    assert (stale.code, "not by a master key in force" in stale.out) == (1, True)
    assert identity("audit", "verify", second).code == 0


@pytest.mark.usefixtures("sealed")
def test_files_must_follow_one_another(
    identity: Identity, db: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity("audit", "archive", "--before", "0s").out.strip()
    with db.transaction() as session:
        audit.seal(session, master.load(session, settings).derive("audit"))
    at = head(identity("audit", "verify"))
    assert identity("keys", "rotate-master").code == 0
    second = identity("audit", "archive", "--before", "0s").out.strip()
    assert first != second
    monkeypatch.setenv("IDENTITY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    both = identity("audit", "verify", first, second, "--head", at)
    assert (both.code, both.err) == (0, "The archives are whole.\n")
    assert head(both) == at
    told = json.loads(identity("audit", "verify", first, second, "--json").out)
    assert told["ok"] and [one["first"] for one in told["archives"]] == [1, 3]
    wrong = identity("audit", "verify", second, first)
    assert (wrong.code, "does not continue event" in wrong.out) == (1, True)
    assert identity("audit", "verify", first, "--head", at).code == 1
    with open(first, "ab") as opened:
        opened.write(b"{}\n")
    assert identity("audit", "verify", first).code == 1
