"""Whoever is to be told that sessions have ended is told by one of several processes, and in spite
of a kill."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from identity.directory.clients.table import Client
from identity.store import changes, leased
from identity.tokens.logouts import LogoutNotice
from identity.tokens.sessions import lifecycle
from tests.databases import wait_until
from tests.faults.replicas import CLIENT, Replicas
from tests.proofs import WHOLE
from tests.receiving import Receiver, receiving
from tests.world import claims_of

SESSIONS = 200 if WHOLE else 24


def tell(ours: Replicas, receiver: Receiver) -> None:
    with ours.db.transaction() as session:
        client = session.get_one(Client, CLIENT)
        client.settings = {**(client.settings or {}), "backchannel_logout_uri": receiver.uri}
        session.add(client)
        changes.record(session, "client.changed", CLIENT)


def waiting(ours: Replicas) -> list[LogoutNotice]:
    with ours.db.transaction() as session:
        return list(session.exec(select(LogoutNotice)))


def begin(ours: Replicas, count: int) -> tuple[str, set[str]]:
    """A user with so many sessions; their `sid`s."""
    user = ours.user()
    with ours.lines() as lines:
        found = {
            str(claims_of(lines[n % len(lines)].log_in(user.username)["access_token"])["sid"])
            for n in range(count)
        }
    return user.id, found


def end(ours: Replicas, user_id: str) -> None:
    with ours.db.transaction() as session:
        assert lifecycle.end_all(session, "for a test", user_id=user_id)


@pytest.mark.slow
def test_of_two_replicas_one_tells(pair: Replicas) -> None:
    with receiving() as receiver:
        tell(pair, receiver)
        user_id, sids = begin(pair, SESSIONS)
        end(pair, user_id)
        receiver.wait_for(SESSIONS, 60)
        wait_until(lambda: not waiting(pair), 30, lambda: f"{waiting(pair)} are left")
        assert sorted(str(claims_of(token)["sid"]) for token in receiver.told) == sorted(sids)


@pytest.mark.slow
def test_a_kill_while_a_client_is_told_loses_nothing(
    replicas: Callable[[int], Replicas],
) -> None:
    ours = replicas(1)
    with receiving() as receiver:
        tell(ours, receiver)
        user_id, sids = begin(ours, 10)
        receiver.holding.clear()
        end(ours, user_id)
        receiver.wait_for(1, 30)
        ours.servers[0].kill()
        assert len(waiting(ours)) == 10
        receiver.holding.set()
        with ours.db.transaction() as session:  # as though the leases were over
            for notice in session.exec(select(LogoutNotice)):
                notice.due_at -= leased.LEASE + timedelta(seconds=1)
                session.add(notice)
        ours.servers[0] = ours.start()
        wait_until(lambda: not waiting(ours), 60, lambda: f"{waiting(ours)} are left")
        assert {claims_of(token)["sid"] for token in receiver.told} == sids


@pytest.mark.slow
def test_who_is_away_is_told_when_they_are_back(replicas: Callable[[int], Replicas]) -> None:
    ours = replicas(1)
    with receiving() as receiver:
        port = receiver.port
        tell(ours, receiver)
    user_id, sids = begin(ours, 3)
    end(ours, user_id)
    wait_until(
        lambda: all(each.last_error for each in waiting(ours)), 30, lambda: "nobody has tried"
    )
    with receiving(port) as receiver:
        wait_until(lambda: not waiting(ours), 60, lambda: f"{waiting(ours)} are left")
        assert {claims_of(token)["sid"] for token in receiver.told} == sids
