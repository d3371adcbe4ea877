"""`identity users …`, and what it leaves behind."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import Session, col, select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.cli.frame import system_user
from identity.clock import frozen
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.records.audit import AuditEvent
from identity.store import Database
from identity.store.table import Change
from identity.tokens.sessions import beginning
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.table import LoginSession

PASSWORD = "correct horse battery"
Identity = Callable[..., Any]


@pytest.fixture
def ada(identity: Identity) -> None:
    done = identity(
        "users", "create", "Ada", "--email", "Ada@Example.com", "--name", "Ada L.",
        "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    assert (done.code, done.out) == (0, ""), done


@pytest.fixture
def bob(identity: Identity, ada: None) -> None:
    assert identity("users", "create", "bob", "--generate").code == 0


def user(session: Session, login: str) -> User:
    found = accounts.find_by_login(session, login)
    assert found is not None
    return found


def log_in(db: Database, settings: Any, login: str) -> str:
    """A session of that user; its id."""
    from identity.service.bootstrap import prepare_database

    prepare_database(db, settings)
    with db.transaction() as session:
        begun = beginning.start(
            session, Lifetimes.of(settings), user_id=user(session, login).id,
            client_id="first-party", scope="", audience="x", amr=["pwd"],
        )  # fmt: skip
    return begun.id


def ended(db: Database, sid: str) -> str | None:
    with db.transaction() as session:
        assert session.exec(select(Change.id).where(Change.ref == sid)).first() is not None
        found = session.get(LoginSession, sid)
        assert found is not None
        return found.end_reason


@pytest.mark.usefixtures("bob")
def test_a_created_user_is_listed_and_shown_as_the_api_shows_it(identity: Identity) -> None:
    listed = json.loads(identity("users", "list", "--json").out)
    assert [one["username"] for one in listed] == ["ada", "bob"]
    shown = json.loads(identity("users", "show", "ada@example.COM", "--json").out)
    state = {name: shown.pop(name) for name in ("password", "locked", "last_failure", "sessions")}
    assert state == {"password": "set", "locked": [], "last_failure": None, "sessions": 0}
    assert shown == listed[0]
    assert set(shown) == {
        "id", "username", "email", "email_verified", "name", "status", "roles",
        "created_at", "updated_at", "last_login_at", "must_change_password",
        "password_expires_at", "given_name", "family_name", "locale", "zoneinfo", "picture",
        "phone_number", "phone_number_verified", "address", "attributes",
    }  # fmt: skip
    assert (shown["email"], shown["roles"]) == ("Ada@example.com", ["admin"])
    assert "$bcrypt" not in identity("users", "show", shown["id"]).out
    table = identity("users", "list").out.splitlines()
    assert table[0].split()[0] == "USERNAME"
    assert table[1].startswith("ada ")


@pytest.mark.usefixtures("bob")
def test_the_list_can_be_narrowed(identity: Identity) -> None:
    def names(*args: str) -> list[str]:
        return [u["username"] for u in json.loads(identity("users", "list", "--json", *args).out)]

    identity("users", "disable", "bob")
    assert names("--search", "EXAMPLE") == ["ada"]
    assert names("--search", "%") == []
    assert names("--role", "admin") == ["ada"]
    assert names("--status", "disabled") == ["bob"]
    assert names("--limit", "1") == ["ada"]
    nobody = identity("users", "list", "--search", "nobody")
    assert (nobody.code, nobody.out, nobody.err) == (0, "", "There are no such users.\n")
    assert identity("users", "list", "--status", "asleep").code == 2


@pytest.mark.usefixtures("ada")
def test_the_password_given_is_stored_hashed_and_need_not_be_changed(
    db: Database, settings: Any
) -> None:
    with db.transaction() as session:
        ada = user(session, "ada")
    hasher = PasswordHasher(settings.passwords.bcrypt_rounds)
    assert hasher.verify(PASSWORD, ada.password_hash or "").ok
    assert not ada.must_change_password


@pytest.mark.usefixtures("ada")
def test_a_generated_password_is_printed_alone_and_must_be_changed(
    identity: Identity, db: Database, settings: Any
) -> None:
    done = identity("users", "create", "bob", "--generate")
    password = done.out.removesuffix("\n")
    assert password.isalnum()
    assert "must be changed" in done.err
    as_json = json.loads(
        identity("users", "create", "eve", "--generate", "--permanent", "--json").out
    )
    with db.transaction() as session:
        bob, eve = user(session, "bob"), user(session, "eve")
    hasher = PasswordHasher(settings.passwords.bcrypt_rounds)
    assert hasher.verify(password, bob.password_hash or "").ok
    assert hasher.verify(as_json["password"], eve.password_hash or "").ok
    assert (bob.must_change_password, eve.must_change_password) == (True, False)
    assert eve.password_expires_at is None
    assert bob.password_expires_at is not None
    until = f"{bob.password_expires_at:%Y-%m-%d %H:%M} UTC"
    assert f"must be changed until {until}" in identity("users", "show", "bob").out
    with frozen(bob.password_expires_at):
        assert "expired" in identity("users", "show", "bob").out


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("args", "stdin", "code", "words"),
    [
        (["ada", "--generate"], "", 1, "the username is taken"),
        (["bob", "--email", "ada@example.com", "--generate"], "", 1, "e-mail address is taken"),
        (["two words", "--generate"], "", 1, "username may hold"),
        (["bob", "--email", "nobody", "--generate"], "", 1, "@"),
        (["bob", "--role", "boss", "--generate"], "", 1, "no such role: boss"),
        (["bob", "--password-stdin"], "short\n", 1, "at least 8 characters"),
        (["bob", "--password-stdin"], "password1\n", 1, "most common"),
        (["bob", "--password-stdin", "--generate"], PASSWORD, 2, "exclude each other"),
        (["bob"], "", 2, "--password-stdin or --generate"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_user_who_may_not_be_is_refused_in_one_line(
    identity: Identity, args: list[str], stdin: str, code: int, words: str
) -> None:
    done = identity("users", "create", *args, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert len(json.loads(identity("users", "list", "--json").out)) == 1


@pytest.mark.usefixtures("bob")
@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["disable", "bob"], "user disabled"),
        (["set-password", "bob", "--generate"], "password reset"),
    ],
)
def test_disabling_and_a_new_password_end_the_sessions(
    identity: Identity, db: Database, settings: Any, args: list[str], reason: str
) -> None:
    sid = log_in(db, settings, "bob")
    done = identity("users", *args)
    assert done.code == 0, done
    assert ended(db, sid) == reason
    assert "sessions ended: 1" in done.err


@pytest.mark.usefixtures("bob")
def test_a_deleted_user_and_its_sessions_are_gone(
    identity: Identity, db: Database, settings: Any
) -> None:
    sid = log_in(db, settings, "bob")
    assert identity("users", "delete", "bob", "--yes").code == 0
    with db.transaction() as session:
        assert session.get(LoginSession, sid) is None
        kinds = set(session.exec(select(Change.kind)).all())
    assert {"session.ended", "user.deleted"} <= kinds
    again = identity("users", "delete", "bob", "--yes")
    assert (again.code, again.err) == (1, "identity: there is no user bob\n")


@pytest.mark.usefixtures("bob")
def test_a_password_is_one_time_unless_it_is_permanent(identity: Identity, db: Database) -> None:
    for args, one_time in (([], True), (["--permanent"], False)):
        done = identity("users", "set-password", "bob", "--password-stdin", *args, stdin=PASSWORD)
        assert (done.code, done.out) == (0, "")
        with db.transaction() as session:
            assert user(session, "bob").must_change_password is one_time


@pytest.mark.usefixtures("bob")
def test_roles_are_granted_and_revoked_beside_the_others(identity: Identity) -> None:
    def roles() -> list[str]:
        found: list[str] = json.loads(identity("users", "show", "bob", "--json").out)["roles"]
        return found

    assert identity("roles", "create", "clerk", "--scope", "users:read").code == 0
    assert identity("users", "grant", "bob", "admin", "clerk").code == 0
    assert roles() == ["admin", "clerk"]
    assert identity("users", "revoke", "bob", "admin").code == 0
    assert roles() == ["clerk"]
    lacking = identity("users", "revoke", "bob", "admin")
    assert (lacking.code, "does not have the role admin" in lacking.err) == (1, True)
    assert identity("users", "grant", "bob", "boss").code == 1


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    "args", [["disable", "ada"], ["delete", "ada", "--yes"], ["revoke", "ada", "admin"]]
)
def test_the_last_administrator_stays(identity: Identity, args: list[str]) -> None:
    done = identity("users", *args)
    assert done.code == 1
    assert done.err == "identity: the last administrator who can log in must stay one\n"


@pytest.mark.usefixtures("bob")
def test_what_the_command_line_does_is_on_record_as_the_system_users(
    identity: Identity, db: Database
) -> None:
    identity("users", "disable", "bob")
    with db.transaction() as session:
        events = session.exec(select(AuditEvent).order_by(col(AuditEvent.id))).all()
    assert [e.event for e in events] == ["user.created", "user.created", "user.disabled"]
    assert {(e.actor_type, e.actor) for e in events} == {("cli", system_user())}
    assert len({e.request_id for e in events}) == 3


@pytest.mark.usefixtures("ada")
def test_a_name_cannot_drive_the_terminal(identity: Identity, db: Database) -> None:
    with db.transaction() as session:
        user(session, "ada").name = "\x1b[2Jclean\nslate"
    assert "\\x1b[2Jclean\\nslate" in identity("users", "list").out
