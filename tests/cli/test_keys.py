"""`identity keys …`: rotation, revocation, exchange, and the master key's own rotation."""

import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import update
from sqlmodel import select

from identity.clock import utcnow
from identity.keys import master
from identity.keys.table import KeyFollower, SigningKey
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.service.bootstrap import prepare_database
from identity.store import Database

Identity = Callable[..., Any]


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


@pytest.fixture
def active(identity: Identity, db: Database, settings: Any) -> str:
    prepare_database(db, settings)
    (key,) = keys(identity)
    return str(key["kid"])


def keys(identity: Identity) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(identity("keys", "list", "--json").out)
    return listed


def states(identity: Identity) -> dict[str, str]:
    return {key["kid"]: key["state"] for key in keys(identity)}


def test_rotation_publishes_the_next_key_and_signs_with_it_later_or_now(
    identity: Identity, active: str
) -> None:
    done = identity("keys", "rotate")
    assert (done.code, "is published, and signs from" in done.err) == (0, True)
    assert "once all who follow the revocations have it" in done.err
    (following,) = set(states(identity)) - {active}
    assert states(identity) == {active: "active", following: "next"}
    assert identity("keys", "rotate", "--now").err == f"{following} signs from now on.\n"
    assert states(identity) == {active: "retired", following: "active"}
    table = identity("keys", "list").out
    assert (active in table, "retired" in table) == (True, True)


def test_the_list_says_who_has_not_got_the_next_key(
    identity: Identity, active: str, db: Database
) -> None:
    identity("keys", "rotate")
    (following,) = set(states(identity)) - {active}
    assert "waits for" not in identity("keys", "list").out
    with db.transaction() as session:
        session.add_all(
            KeyFollower(
                id=f"host-{n}@orders", client_id="orders", name=f"host-{n}", kids=kids,
                told_at=utcnow(), seen_at=utcnow() - timedelta(minutes=minutes),
            )
            for n, kids, minutes in (
                (1, active, 1), (2, f"{active} {following}", 1), (3, active, 61), (4, None, 1),
            )
        )  # fmt: skip
    text = identity("keys", "list").out
    assert f"{following} waits for 1 of 3 followers:" in text
    assert "host-1" in text and not {"host-2", "host-3", "host-4"} & set(text.split())
    told = {key["kid"]: key.get("uptake") for key in keys(identity)}
    assert told[active] is None
    found = told[following]
    assert (found["followers"], found["silent"], found["missing"]) == (3, 1, 1)
    (missing,) = found["waits_for"]
    assert (missing["client_id"], missing["name"]) == ("orders", "host-1")


def test_an_algorithm_that_an_audience_chose_rotates_apart(
    identity: Identity, active: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = identity("keys", "rotate", "--algorithm", "RS256")
    assert refused.code == 1
    assert "one in use (ES256)" in refused.err
    monkeypatch.setenv("IDENTITY_AUDIENCE_ALGORITHMS", "https://orders.test=RS256")
    assert "none for RS256 yet" in identity("doctor", "--offline").out
    assert "is published" in identity("keys", "rotate", "--algorithm", "RS256").err
    assert "RS256" in identity("doctor", "--offline").out
    assert "signs from now on" in identity("keys", "rotate", "--algorithm", "RS256", "--now").err
    assert {(key["algorithm"], key["state"]) for key in keys(identity)} == {
        ("ES256", "active"), ("RS256", "active"),
    }  # fmt: skip
    (rs256,) = (key["kid"] for key in keys(identity) if key["algorithm"] == "RS256")
    identity("keys", "revoke", rs256, "--yes")
    assert sorted((key["algorithm"], key["state"]) for key in keys(identity)) == [
        ("ES256", "active"), ("RS256", "active"), ("RS256", "revoked"),
    ]  # fmt: skip
    assert states(identity)[active] == "active"


def test_a_revoked_key_is_replaced_at_once(identity: Identity, active: str, db: Database) -> None:
    done = identity("keys", "revoke", active[:8], "--yes")
    assert done.code == 0, done
    found = states(identity)
    assert found.pop(active) == "revoked"
    assert list(found.values()) == ["active"]
    assert (
        identity("keys", "revoke", "nothing", "--yes").err == "identity: there is no key nothing\n"
    )
    with db.transaction() as session:
        revoked = session.exec(select(AuditEvent).where(AuditEvent.event == "key.revoked")).one()
    assert (revoked.actor_type, revoked.subject) == ("cli", active)


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("kid", ["-hy" + "x" * 40, "--plain" + "x" * 36, "--" + "x" * 41])
def test_a_key_id_may_begin_with_hyphens(
    identity: Identity, active: str, db: Database, kid: str
) -> None:
    with db.transaction() as session:
        session.execute(update(SigningKey).values(kid=kid))
    assert identity("keys", "revoke", kid, "--yes").code == 0
    assert states(identity)[kid] == "revoked"
    assert "is revoked, its private half" in identity("keys", "export", kid, "-", "--plain").err


def test_no_private_half_is_ever_listed(identity: Identity, active: str) -> None:
    assert "private" not in identity("keys", "list", "--json").out


def test_a_key_of_ones_own_signs_next_or_at_once(
    identity: Identity, active: str, tmp_path: Path
) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    (tmp_path / "own.pem").write_bytes(pem)
    (tmp_path / "pass").write_text("open sesame\n")
    refused = identity("keys", "import", "own.pem")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "password is needed" in refused.err
    done = identity("keys", "import", "own.pem", "--passphrase-file", "pass")
    assert (done.code, "it is next" in done.err) == (0, True)
    done = identity("keys", "import", "own.pem", "--passphrase-file", "pass", "--activate")
    assert "it is active" in done.err
    (tmp_path / "bad.pem").write_text("hello")
    assert "is not PEM" in identity("keys", "import", "bad.pem").err


def test_an_exported_key_is_encrypted_unless_told_otherwise_and_on_record(
    identity: Identity, active: str, tmp_path: Path, db: Database
) -> None:
    (tmp_path / "pass").write_text("open sesame\n")
    assert identity("keys", "export", active, "key.pem").code == 2
    done = identity("keys", "export", active, "key.pem", "--passphrase-file", "pass")
    assert done.code == 0, done
    pem = tmp_path / "key.pem"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    load_pem_private_key(pem.read_bytes(), b"open sesame")
    again = identity("keys", "export", active, "key.pem", "--plain")
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert "key.pem: exists already" in again.err
    load_pem_private_key(identity("keys", "export", active, "-", "--plain").out.encode(), None)
    assert identity("keys", "export", active, "no/such/folder.pem", "--plain").code == 1
    with db.transaction() as session:
        events = session.exec(select(AuditEvent).where(AuditEvent.event == "key.exported")).all()
    assert [event.detail["encrypted"] for event in events] == [True, False]
    assert sorted(path.name for path in tmp_path.glob(".key.pem*")) == []


def test_the_master_key_is_replaced_in_two_steps_and_the_audit_stays_whole(
    identity: Identity, active: str, tmp_path: Path, db: Database, settings: Any
) -> None:
    file = tmp_path / "keys" / master.FILE
    old = file.read_text().split()
    assert "none to drop" in identity("keys", "rotate-master", "--drop-old").err
    with db.transaction() as session:
        audit.seal(session, master.load(session, settings).derive("audit"))
    done = identity("keys", "rotate-master")
    assert (done.code, "--drop-old" in done.err) == (0, True)
    new, *rest = file.read_text().split()
    assert rest == old
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert identity("audit", "verify").code == 0
    done = identity("keys", "rotate-master", "--drop-old")
    assert done.code == 0, done
    assert file.read_text().split() == [new]
    assert identity("audit", "verify").code == 0
    assert identity("keys", "export", active, "-", "--plain").code == 0
    assert new not in done.err


def test_an_old_master_key_that_is_still_needed_is_not_dropped(
    identity: Identity, active: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity("keys", "rotate-master")
    file = tmp_path / "keys" / master.FILE
    both = file.read_text()
    # As if another process had encrypted something under the old key meanwhile.
    monkeypatch.setattr(
        "identity.cli.keys._secrets",
        lambda session: [Fernet(both.split()[1]).encrypt(b"secret").decode()],
    )
    done = identity("keys", "rotate-master", "--drop-old")
    assert (done.code, "does not decrypt" in done.err) == (1, True)
    assert file.read_text() == both


def test_a_master_key_in_a_setting_is_replaced_by_who_sets_it(
    identity: Identity, active: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (tmp_path / "keys" / master.FILE).read_text().strip()
    monkeypatch.setenv("IDENTITY_MASTER_KEY", old)
    done = identity("keys", "rotate-master")
    assert (done.code, "NEW,OLD" in done.err) == (1, True)
    new = Fernet.generate_key().decode()
    monkeypatch.setenv("IDENTITY_MASTER_KEY", f"{new},{old}")
    done = identity("keys", "rotate-master")
    assert (done.code, new in done.err) == (0, False)
    monkeypatch.setenv("IDENTITY_MASTER_KEY", new)
    assert identity("keys", "export", active, "-", "--plain").code == 0


def test_a_wrong_master_key_is_named(identity: Identity, active: str, tmp_path: Path) -> None:
    file = tmp_path / "keys" / master.FILE
    file.chmod(0o644)
    done = identity("keys", "rotate")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "master.key: others may use it" in done.err
