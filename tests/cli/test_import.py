"""`identity users import`: other systems' users and their hashes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passlib.hash import argon2, django_pbkdf2_sha256
from sqlmodel import col, select

from identity.directory.users import accounts, names
from identity.directory.users.table import User
from identity.errors import ValidationFailed
from identity.records.audit import AuditEvent
from identity.service.importing import batches
from identity.service.importing.batches import Import
from identity.service.importing.reading import Lines, records
from identity.service.importing.rows import Bad, login_key
from identity.store import Database

Identity = Callable[..., Any]
HEADER = "username,email,name,password_hash,roles,status,email_verified\n"
DJANGO = django_pbkdf2_sha256.using(rounds=1000).hash("tangerine harbour 71")
ARGON2 = argon2.using(rounds=1, memory_cost=64, parallelism=1).hash("tangerine harbour 71")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(text: str | bytes, name: str = "users.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    return write


File = Callable[..., str]


def counts(done: Any) -> dict[str, int]:
    return {name: int(number) for name, number in map(str.split, done.out.splitlines())}


def users(identity: Identity) -> dict[str, Any]:
    listed = json.loads(identity("users", "list", "--json").out)
    return {one["username"]: one for one in listed}


def test_users_come_with_their_hashes_roles_and_status(
    identity: Identity, db: Database, file: File
) -> None:
    csv = file(
        HEADER
        + f'Ada,Ada@Example.com,"Lovelace, Ada",{DJANGO},admin,active,true\n'
        + '"bad","","of\ntwo lines"\n'
        + "eve,,,,,,\n"
        + "bad one,,,,,,\n"
    )
    done = identity("users", "import", csv)
    assert (done.code, counts(done)["created"]) == (1, 2)
    lines = [line.split(":")[1] for line in done.err.splitlines()]
    assert lines == ["3", "6"]  # where each begins
    row = {"username": "bob", "password_hash": ARGON2, "status": "disabled"}
    jsonl = file(json.dumps(row), "users.jsonl")
    assert counts(identity("users", "import", jsonl))["created"] == 1
    found = users(identity)
    assert set(found) == {"ada", "bob", "eve"}
    ada = found["ada"]
    assert (ada["email"], ada["email_verified"]) == ("Ada@example.com", True)
    assert (ada["name"], ada["roles"], ada["status"]) == ("Lovelace, Ada", ["admin"], "active")
    assert found["bob"]["status"] == "disabled"
    with db.transaction() as session:
        stored = accounts.find_by_login(session, "ada@example.com")
        assert stored is not None
        assert stored.password_hash == DJANGO
        assert not stored.must_change_password


async def test_an_imported_user_logs_in_with_the_old_password(
    identity: Identity, api: Any, file: File
) -> None:
    assert identity("users", "import", file(f"username,password_hash\nada,{DJANGO}\n")).code == 0
    form = {"grant_type": "password", "username": "ada", "password": "tangerine harbour 71"}
    assert (await api.post("/token", data=form)).status_code == 200


def test_bad_rows_are_told_by_line_and_the_rest_goes_on(identity: Identity, file: File) -> None:
    identity("users", "create", "taken", "--email", "taken@example.com", "--generate")
    identity("users", "create", "other", "--email", "other@example.com", "--generate")
    csv = file(
        "username,email,password_hash,roles,status,email_verified\n"
        "good,good@example.com,,,,\n"
        "two words,,,,,\n"
        "mail,no-address,,,,\n"
        "md5,,5f4dcc3b5aa765d61d8327deb882cf99,,,\n"
        "boss,,,boss,,\n"
        "asleep,,,,asleep,\n"
        "perhaps,,,,,perhaps\n"
        "thief,taken@example.com,,,,\n"
        "good,,,,,\n"
        "twin,GOOD@example.com,,,,\n"
        ",,,,,\n"
        ",someone@example.com,,,,\n"
        "long,,,,,,,\n"
        "other@example.com,,,,,\n"
        '"last"",,,,,\n'
    )
    done = identity("users", "import", csv)
    assert done.code == 1
    assert counts(done) == {"created": 1, "updated": 0, "unchanged": 0, "bad": 13}
    told = dict(line.removeprefix("users.csv:").split(": ", 1) for line in done.err.splitlines())
    for line, words in {
        "3": "username may hold",
        "4": "@",
        "5": "password_hash is a bare MD5 or NT digest: known, but too weak",
        "6": "no such role: boss",
        "7": "status must be active or disabled",
        "8": "email_verified must be true or false",
        "9": "the e-mail address belongs to another user",
        "10": "line 2 has the name good already",
        "11": "line 2 has the name good@example.com already",
        "13": "username",
        "14": "fields",
        "15": "the username belongs to another user",
        "16": "begins a text in quotation marks that ends nowhere: nothing below this line",
    }.items():
        assert words in told.pop(line), line
    assert not told
    assert set(users(identity)) == {"good", "taken", "other"}


def test_an_import_can_be_run_again_and_changes_nobody(
    identity: Identity, db: Database, file: File
) -> None:
    csv = file(f"username,email,name,password_hash,roles\nada,ada@example.com,Ada,{DJANGO},admin\n")
    assert identity("users", "import", csv).code == 0
    before = users(identity)
    assert counts(identity("users", "import", csv))["unchanged"] == 1
    identity("users", "set-password", "ada", "--generate", "--permanent")
    csv = file(f"username,name,password_hash,status\nada,Ada King,{DJANGO},disabled\n")
    done = identity("users", "import", csv)
    assert (done.code, counts(done)["unchanged"]) == (0, 1)
    assert "1 exist and differ" in done.err
    with db.transaction() as session:
        ada = accounts.find_by_login(session, "ada")
        assert ada is not None
        assert ada.password_hash != DJANGO
    after = users(identity)
    assert {**after["ada"], "updated_at": ""} == {**before["ada"], "updated_at": ""}


def test_update_brings_who_exists_into_line_but_keeps_passwords_and_the_last_administrator(
    identity: Identity, db: Database, file: File
) -> None:
    identity("users", "create", "ada", "--role", "admin", "--generate", "--permanent")
    identity("users", "create", "bob", "--generate")
    with db.transaction() as session:
        was = {u.username: u.password_hash for u in session.exec(select(User))}
    csv = file(
        "username,email,name,password_hash,roles,status\n"
        f"ada,,,{DJANGO},,disabled\n"
        f"bob,bob@example.com,Bob,{DJANGO},admin,disabled\n"
    )
    done = identity("users", "import", csv, "--update")
    assert done.code == 1
    assert done.err == "users.csv:2: the last administrator who can log in must stay one\n"
    assert counts(done) == {"created": 0, "updated": 1, "unchanged": 0, "bad": 1}
    found = users(identity)
    assert found["ada"]["status"] == "active"
    assert found["bob"]["status"] == "disabled"
    assert (found["bob"]["email"], found["bob"]["roles"]) == ("bob@example.com", ["admin"])
    with db.transaction() as session:
        assert was == {u.username: u.password_hash for u in session.exec(select(User))}


def test_a_dry_run_says_the_same_and_changes_nothing(
    identity: Identity, db: Database, file: File
) -> None:
    identity("users", "create", "bob", "--generate")
    csv = file("username,name\nada,Ada\nbob,Bob\ntwo words,\n")
    done = identity("users", "import", csv, "--dry-run", "--update")
    assert done.code == 1
    assert counts(done) == {"created": 1, "updated": 1, "unchanged": 0, "bad": 1}
    assert "nothing was changed" in done.err
    assert users(identity)["bob"]["name"] is None
    with db.transaction() as session:
        events = session.exec(select(AuditEvent.event)).all()
    assert events == ["user.created"]


def test_every_user_has_an_event_of_its_own(
    identity: Identity, db: Database, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH", 3)
    rows = "".join(f"user{number}\n" for number in range(10))
    assert counts(identity("users", "import", file(f"username\n{rows}")))["created"] == 10
    with db.transaction() as session:
        events = session.exec(select(AuditEvent).order_by(col(AuditEvent.id))).all()
        ids = set(session.exec(select(User.id)).all())
    assert {event.subject for event in events} == ids
    assert {(e.event, e.actor_type, e.detail["imported"]) for e in events} == {
        ("user.created", "cli", True)
    }
    assert len({event.request_id for event in events}) == 1


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_name_taken_while_the_import_runs_is_seen(
    identity: Identity, db: Database, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = batches._owners

    def and_then_somebody_else(session: Any, rows: Any) -> Any:
        found = look(session, rows)
        monkeypatch.setattr(batches, "_owners", look)
        with db.transaction() as other:
            accounts.create(other, username="other", email="ada@example.com")
        return found

    monkeypatch.setattr(batches, "_owners", and_then_somebody_else)
    done = identity("users", "import", file("username,email\nada,ada@example.com\nbob,\n"))
    assert done.err == "users.csv:2: the e-mail address belongs to another user\n"
    assert counts(done) == {"created": 1, "updated": 0, "unchanged": 0, "bad": 1}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("users.csv", "username,password\nada,secret\n", "never imported"),
        ("users.csv", "name,email\nada,\n", "username among them"),
        ("users.csv", "username,shoe size\nada,\n", "unknown column shoe size"),
        ("users.csv", "username,username\nada,\n", "twice"),
        ("users.csv", "username;email\nada;\n", "separated by commas"),
        ("users.csv", "", "empty"),
        ("users.txt", "username\nada\n", ".csv, .jsonl or .json"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_file_that_is_none_is_refused_as_a_whole(
    identity: Identity, file: File, name: str, text: str, words: str
) -> None:
    done = identity("users", "import", file(text, name))
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert "secret" not in done.err


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_jsonl_rows_are_judged_one_by_one(identity: Identity, file: File) -> None:
    rows = [
        b'{"username": "ada", "roles": ["admin"], "email_verified": false, "email": null}',
        b"",
        b"{",
        b"[1]",
        b'{"username": "bob", "password": "hunter2"}',
        b'{"username": "bob", "shoes": 42}',
        b'{"username": 42}',
        b'{"username": "bob", "roles": [1]}',
        b'{"username": "b\xffb"}',
        b'{"username": "\\ud800"}',
        b"[" * 100_000,
        b'{"username": "bob", "name": "\\u0000"}',
    ]
    done = identity("users", "import", file(b"\xef\xbb\xbf" + b"\n".join(rows), "users.jsonl"))
    assert counts(done) == {"created": 1, "updated": 0, "unchanged": 0, "bad": 10}
    lines = [line.split(":")[1] for line in done.err.splitlines()]
    assert lines == ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]
    assert "hunter2" not in done.err
    assert users(identity)["ada"]["roles"] == ["admin"]


def test_progress_is_shown_to_whoever_watches(
    identity: Identity, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity.cli.progress.sys.stderr.isatty", lambda: True)
    done = identity("users", "import", file("username\nada\nbob\n"))
    assert "100%  2 rows" in done.err


@given(st.text(max_size=80))
def test_every_text_has_thelogin_key_that_a_login_looks_for(name: str) -> None:
    assert login_key(name) == names.login_key(name)


@given(st.text("!~aZ@.\u00df ", min_size=1, max_size=20))
def test_short_cuts_for_plain_names_change_no_key(name: str) -> None:
    assert login_key(name) == names.login_key(name)


@given(st.binary(max_size=400), st.sampled_from(["u.csv", "u.jsonl"]))
def test_no_octets_break_the_reader(octets: bytes, name: str) -> None:
    lines = Lines((b"username\n" + octets).splitlines(keepends=True))
    work = Import(None)  # type: ignore[arg-type]
    bad: list[Bad] = []
    try:
        for item in records(lines, Path(name)):
            work._right(item, bad)
    except ValidationFailed:
        pass
    assert all(one.reason and one.line >= 1 for one in bad)
