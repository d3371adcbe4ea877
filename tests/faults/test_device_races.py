"""One device code asked for by many at once, and uses of it that race with its end, over two
processes."""

from datetime import timedelta
from functools import partial

import pytest

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.oauth.grants.device_code import DeviceCode
from identity.opaque import digest, mint
from identity.store import changes
from identity.tokens.devices import user_codes
from identity.tokens.devices.table import LIFE, PREFIX, DeviceAuthorization
from identity.tokens.sessions import lifecycle
from tests.faults.racing import RACES, Act, at_once, is_dead, sessions_of
from tests.faults.replicas import CLIENT, Line, Replicas

SIXTEEN = 16
REFUSALS = {"slow_down", "invalid_grant", "authorization_pending"}


@pytest.fixture
def devices(pair: Replicas) -> Replicas:
    """The pair; its client may have devices for as long as the test lasts."""
    with pair.db.transaction() as work:
        client = work.get_one(Client, CLIENT)
        if DeviceCode.grant_type not in client.grants:
            client.grants = [*client.grants, DeviceCode.grant_type]
            work.add(client)
            changes.record(work, "client.changed", CLIENT)
    return pair


def allowed(pair: Replicas, user: User | None) -> dict[str, str]:
    """The form that asks for what the user, or nobody yet, has allowed a new device."""
    code, now = mint(PREFIX), utcnow()
    with pair.db.transaction() as work:
        work.add(
            DeviceAuthorization(
                digest=digest(code), user_code=user_codes.make(), client_id=CLIENT,
                scope="openid", expires_at=now + LIFE, due_at=now - timedelta(seconds=60),
                user_id=user and user.id, authenticated_at=now, amr=["pwd"], acr="aal1",
            )
        )  # fmt: skip
    return {"grant_type": DeviceCode.grant_type, "device_code": code}


def asking(lines: list[Line], form: dict[str, str]) -> list[Act]:
    return [partial(line.post, "/token", **form) for line in lines]


@pytest.mark.proof
def test_of_sixteen_questions_at_two_processes_one_gets_the_tokens(devices: Replicas) -> None:
    with devices.lines(*devices.servers * (SIXTEEN // 2)) as lines:
        for _ in range(RACES):
            user = devices.user()
            answers = at_once(*asking(lines, allowed(devices, user)))
            won = [answer for answer in answers if answer.status == 200]
            errors = [answer.document["error"] for answer in answers if answer.status != 200]
            assert len(won) == 1 and set(errors) <= {"slow_down", "invalid_grant"}
            (session,) = sessions_of(devices, user)
            assert session.ended_at is None
            assert all(line.active(won[0].document["access_token"]) for line in lines[:2])


def test_haste_at_one_process_is_known_at_the_other(devices: Replicas) -> None:
    with devices.lines() as (one, other):
        form = allowed(devices, None)
        assert one.post("/token", **form).document["error"] == "authorization_pending"
        assert other.post("/token", **form).document["error"] == "slow_down"


def test_a_use_that_races_with_the_end_of_all_sessions_leaves_no_survivor(
    devices: Replicas,
) -> None:
    with devices.lines() as lines:
        for turn in range(10):
            user = devices.user()
            form = allowed(devices, user)

            def end(ended: str = user.id) -> None:
                with devices.db.transaction() as work:
                    lifecycle.end_all(work, "by an administrator", user_id=ended)

            uses = asking(lines[:1], form)
            acts: list[Act] = [end, *uses] if turn % 2 else [*uses, end]
            for answer in [each for each in at_once(*acts) if each is not None]:
                if answer.status == 200:
                    assert is_dead(lines, answer.document)
                else:
                    assert answer.document["error"] in REFUSALS
