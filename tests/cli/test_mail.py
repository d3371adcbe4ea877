"""`identity mail`: what waits, again, and whether mails arrive."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlmodel import select

from identity.authentication.mail.outbox import Outbox, OutgoingMail
from identity.clock import utcnow
from identity.directory.users import accounts
from identity.keys import master
from identity.settings import Settings
from identity.store import Database
from tests.mailbox import Postbox, taking

FROM = "no-reply@example.com"


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postbox]:
    with taking() as box:
        monkeypatch.setenv("IDENTITY_SMTP_URL", box.url)
        monkeypatch.setenv("IDENTITY_MAIL_FROM", FROM)
        yield box


def waits(db: Database, settings: Settings, **fields: Any) -> str:
    with db.transaction() as session:
        key = master.load(session, settings)
        mails = Outbox(Settings.of(smtp_url="smtp://localhost", mail_from=FROM), key)
        id_ = mails.write(session, "test", to="ada@example.com")
        row = session.get_one(OutgoingMail, id_)
        row.sqlmodel_update(fields)
        session.add(row)
    return str(id_)


def test_an_operator_sees_and_repeats(
    identity: Callable[..., Any], db: Database, settings: Settings
) -> None:
    assert identity("mail", "list").err == "All mails have been sent.\n"
    id_ = waits(db, settings, given_up_at=utcnow(), last_error="(550, 'no')", attempts=3)
    (listed,) = json.loads(identity("mail", "list", "--json").out)
    assert listed["id"] == id_ and listed["state"] == "given_up" and "sealed" not in listed
    assert "(550, 'no')" in identity("mail", "list").out
    assert "could not be sent" in identity("doctor").out
    done = identity("mail", "retry", id_)
    assert done.code == 0 and done.err == "Mails to be sent now: 1.\n"
    with db.transaction() as session:
        (row,) = session.exec(select(OutgoingMail))
        assert row.given_up_at is None
    assert identity("mail", "retry").err == "Mails to be sent now: 1.\n"
    missing = identity("mail", "retry", "nothing")
    assert missing.code == 1 and "no such mail" in missing.err


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_test_says_what_the_server_says(identity: Callable[..., Any], box: Postbox) -> None:
    done = identity("mail", "test", "ops@example.com")
    assert done.code == 0 and f"127.0.0.1:{box.port}" in done.err
    assert [mail.to for mail in box.took] == ["ops@example.com"]
    box.answer = lambda _: "550 no such box"
    refused = identity("mail", "test", "ops@example.com")
    assert refused.code == 1 and "550" in refused.err
    wrong = identity("mail", "test", "nobody")
    assert wrong.code == 1 and "address" in wrong.err


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_without_a_server_nothing_is_sent(identity: Callable[..., Any]) -> None:
    refused = identity("mail", "test", "ops@example.com")
    assert refused.code == 1 and "IDENTITY_SMTP_URL: is not set" in refused.err


def test_what_an_operator_does_to_a_user_is_told(
    identity: Callable[..., Any], db: Database, box: Postbox
) -> None:
    with db.transaction() as session:
        accounts.create(session, username="ada", email="ada@example.com")
    done = identity("users", "set-password", "ada", "--generate")
    assert done.code == 0, done.err
    with db.transaction() as session:
        (row,) = session.exec(select(OutgoingMail))
        assert row.kind == "password_reset" and row.user_id is not None
