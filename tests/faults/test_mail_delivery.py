"""Mails are sent by one of several processes, in spite of a kill; what a link does is done once,
whichever processes are asked."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import select

from identity.authentication.mail import resetting
from identity.authentication.mail.outbox import Outbox, OutgoingMail
from identity.directory.users import accounts
from identity.keys import master
from identity.settings import Settings
from identity.store import leased
from tests.databases import wait_until
from tests.faults.racing import at_once
from tests.faults.replicas import Line, Replicas
from tests.mailbox import Postbox, taking, waiting
from tests.proofs import effort

FROM = "no-reply@identity.test"
MAILS = effort(200, 1_000, 10_000)
Start = Callable[[int, Postbox], Replicas]


@pytest.fixture
def sending(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """`sending(n, box)`: servers that send to it."""
    started: list[Replicas] = []

    def start(count: int, box: Postbox) -> Replicas:
        told = {"SMTP_URL": box.url, "MAIL_FROM": FROM}
        started.append(Replicas(database_url, tmp_path, count, **told))
        return started[-1]

    yield start
    for each in started:
        each.close()


def outbox(ours: Replicas) -> Outbox:
    with ours.db.transaction() as session:
        key = master.load(session, ours.settings)
    return Outbox(Settings.of(smtp_url="smtp://localhost", mail_from=FROM), key)


def write(ours: Replicas, count: int) -> None:
    mails = outbox(ours)
    with ours.db.transaction() as session:
        for number in range(count):
            mails.write(session, "test", to=f"u{number}@example.com")


@pytest.mark.slow
def test_of_two_replicas_one_sends_each_mail(sending: Start) -> None:
    with taking() as box:
        ours = sending(2, box)
        write(ours, MAILS)
        box.wait_for(MAILS, 30 + MAILS / 20)
        wait_until(lambda: not waiting(ours.db), 30, lambda: f"{waiting(ours.db)} are left")
        counted = Counter(mail.to for mail in box.took)
        assert set(counted.values()) == {1} and len(counted) == MAILS


@pytest.mark.slow
def test_a_kill_between_sending_and_saying_so_loses_nothing(sending: Start) -> None:
    with taking() as box:
        ours = sending(1, box)
        box.holding.clear()
        write(ours, 5)
        box.wait_for(1)
        ours.servers[0].kill()
        assert waiting(ours.db) == 5
        box.holding.set()
        with ours.db.transaction() as session:  # as though the leases were over
            for mail in session.exec(select(OutgoingMail)):
                mail.due_at -= leased.LEASE + timedelta(seconds=1)
                session.add(mail)
        ours.servers[0] = ours.start()
        wait_until(lambda: not waiting(ours.db), 60, lambda: f"{waiting(ours.db)} are left")
        ids = Counter(mail.message["message-id"] for mail in box.took)
        assert len(ids) == 5 and max(ids.values()) <= 2


@pytest.mark.slow
def test_a_link_that_many_use_at_once_sets_one_password(sending: Start) -> None:
    with taking() as box:
        ours = sending(2, box)
        user, mails = ours.user(), outbox(ours)
        with ours.db.transaction() as session:
            row = accounts.get(session, user.id, lock=True)
            accounts.update(session, row, {"email": "ada@example.com"}, None)
            resetting.ask(session, mails, "ada@example.com")
        (mail,) = box.wait_for(1)
        form = {"token": mail.token, "new_password": "marmalade lighthouse 33"}

        def use(line: Line) -> int:
            return line.post("/reset-password", **form).status

        with ours.lines(*ours.servers * 4) as lines:
            looked = [line.get(f"/reset-password?token={mail.token}").status for line in lines]
            statuses = sorted(at_once(*(partial(use, line) for line in lines)))
        assert looked == [200] * 8 and statuses == [200] + [410] * 7
        assert len(ours.events("user.password_changed")) == 1
