"""`identity users factors`, and the master key above the secrets of apps."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from identity import clock
from identity.authentication import enrolment, recovery, second_factor, totp
from identity.authentication.passkeys import keeping
from identity.authentication.passkeys.table import Passkey
from identity.authentication.totp import Totp
from identity.clock import utcnow
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.keys import master
from identity.settings import Settings, SettingsError
from identity.store import Database
from tests.second_factors import App


def with_app(db: Database, settings: Settings) -> tuple[User, App]:
    with db.transaction() as session:
        key = master.load(session, settings)
        user = accounts.create(session, username="ada")
        app = App.scanned(totp.begin(session, key, "https://id.example", user).uri)
        waiting = totp.waiting(session, key, "https://id.example", user)
        assert waiting and totp.confirm(session, waiting, user, app.code())
        app.recovery_codes = recovery.renew(session, user.id)
        user.second_factor = True
        session.add(user)
    return user, app


def test_an_operator_lists_and_resets_the_factors_of_a_user(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    user, app = with_app(db, settings)
    listed = json.loads(identity("users", "factors", "list", "ada", "--json").out)
    assert [(row["kind"], row["left"]) for row in listed] == [
        ("totp", None),
        ("recovery_codes", 10),
    ]
    shown = identity("users", "factors", "list", "ada").out
    assert "totp" in shown and app.secret not in shown
    asked = identity("users", "factors", "reset", "ada")
    assert asked.code == 2 and "--yes" in asked.err
    done = identity("users", "factors", "reset", "ada", "--reason", "telephone lost", "--yes")
    assert done.code == 0 and "no second factor any more" in done.err
    assert identity("users", "factors", "list", "ada").err.startswith("ada has no second factor")
    again = identity("users", "factors", "reset", "ada", "--yes")
    assert again.code == 1 and "no second factor" in again.err
    events = json.loads(identity("audit", "list", "--json", "--event", "factors.reset").out)
    assert [event["detail"] for event in events] == [{"reason": "telephone lost"}]
    with db.transaction() as session:
        assert session.get(Totp, user.id) is None and recovery.left(session, user.id)[0] == 0


def test_an_operator_prints_a_link_for_who_lost_everything_and_takes_it_back(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    user, _ = with_app(db, settings)
    link = ("users", "factors", "link", "ada", "--reason", "telephone lost")
    passwordless = identity(*link, "--yes")
    assert passwordless.code == 1 and "one-time password" in passwordless.err
    assert identity("users", "set-password", "ada", "--generate").code == 0
    assert identity("users", "factors", "link", "ada", "--yes").code == 2, "a reason is needed"
    asked = identity(*link)
    assert asked.code == 2 and "--yes" in asked.err
    first, done = identity(*link, "--yes"), identity(*link, "--yes")
    assert done.code == 0 and "Good once" in done.err
    address, _, token = done.out.strip().partition("?token=")
    assert address == f"{settings.issuer.rstrip('/')}/enrolment"
    with db.transaction() as session:
        owner = enrolment.good(session, token)
        assert owner is not None and owner.id == user.id
        assert enrolment.good(session, first.out.strip().partition("?token=")[2]) is None
    assert identity("users", "factors", "unlink", "ada").code == 0
    with db.transaction() as session:
        assert enrolment.good(session, token) is None
        assert accounts.get(session, user.id).second_factor, "nothing else has changed"
    again = identity("users", "factors", "unlink", "ada")
    assert again.code == 1 and "no link is open" in again.err
    listed = identity("audit", "list", "--json", "--event", "enrolment_link.issued").out
    assert [each["detail"] for each in json.loads(listed)] == [{"reason": "telephone lost"}] * 2
    assert token not in listed


def test_passkeys_are_listed_and_reset_too(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    user, _ = with_app(db, settings)
    with db.transaction() as session:
        session.add(
            Passkey(
                user_id=user.id, rp_id="id.example", credential_id="c1", sign_count=0,
                public_key="", name="Telephone", aaguid="", backup_eligible=True, backed_up=True,
            )
        )  # fmt: skip
    listed = json.loads(identity("users", "factors", "list", "ada", "--json").out)
    assert [(row["kind"], row["name"]) for row in listed] == [
        ("passkey", "Telephone"), ("totp", None), ("recovery_codes", None),
    ]  # fmt: skip
    assert "Telephone" in identity("users", "factors", "list", "ada").out
    assert identity("users", "factors", "reset", "ada", "--yes").code == 0
    assert identity("users", "factors", "list", "ada").err.startswith("ada has no second factor")
    with db.transaction() as session:
        assert keeping.count(session, user.id) == 0


def test_unlock_lets_a_user_try_codes_again(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    user, _ = with_app(db, settings)
    with db.transaction() as session:
        row = session.get_one(Totp, user.id)
        row.wrong, row.locked_until = 12, utcnow() + timedelta(hours=1)
    assert identity("users", "unlock", "ada").code == 0
    with db.transaction() as session:
        row = session.get_one(Totp, user.id)
        assert (row.wrong, row.locked_until) == (0, None)


def test_the_secrets_of_apps_move_to_a_new_master_key(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    user, app = with_app(db, settings)
    with db.transaction() as session:  # one that waits for its first code moves as well
        totp.begin(session, master.load(session, settings), "https://id.example", user)
    file: Path = settings.keys.keys_dir / "master.key"
    old = file.read_text()
    assert identity("keys", "rotate-master").code == 0
    done = identity("keys", "rotate-master", "--drop-old")
    assert done.code == 0, done.err
    assert old.strip() not in file.read_text()
    with clock.frozen(), db.transaction() as session:
        key = master.load(session, settings)
        row = session.get_one(Totp, user.id)
        assert totp.unseal(key, user.id, row.secret or "") == app.secret
        assert totp.unseal(key, user.id, row.pending or "")
        factors = second_factor.SecondFactor(db, key, settings, None, None)  # type: ignore[arg-type]
        assert factors.prove(session, user.id, app.code(1)) == "totp"


def test_a_master_key_that_does_not_open_them_is_refused(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    with_app(db, settings)
    with db.transaction() as session:
        key = master.load(session, settings)
        totp.check(session, key)
        stranger = master.MasterKey([master.Fernet.generate_key().decode()], "another")
        with pytest.raises(SettingsError, match="another master key"):
            totp.check(session, stranger)


def test_moving_to_a_new_master_key_goes_on_behind_the_first_bit(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totp, "SOME", 2)
    with db.transaction() as session:
        key = master.load(session, settings)
        for number in range(5):
            user = accounts.create(session, username=f"user-{number}")
            totp.begin(session, key, "https://id.example", user)
    with db.transaction() as session:
        assert totp.reencrypt(session, key) == 5


def test_an_operator_says_which_roles_want_a_second_factor(identity: Callable[..., Any]) -> None:
    def acr_of(name: str) -> str | None:
        shown = json.loads(identity("roles", "show", name, "--json").out)
        return shown["acr"]  # type: ignore[no-any-return]

    assert identity("roles", "create", "treasurer", "--acr", "aal2").code == 0
    assert acr_of("treasurer") == "aal2"
    assert identity("roles", "update", "treasurer", "--acr", "").code == 0
    assert acr_of("treasurer") is None
    assert identity("roles", "update", "treasurer", "--acr", "phr").code == 0
    assert acr_of("treasurer") == "phr"
    refused = identity("roles", "update", "treasurer", "--acr", "gold")
    assert refused.code == 1 and "aal2" in refused.err
