"""Once an act has returned, no process answers from before it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlmodel import select

from identity.directory.access.table import RoleScope
from identity.directory.users import accounts
from identity.keys import master, rotation
from identity.keys.material import prepare
from identity.keys.table import SigningKey
from identity.opaque import new_id
from identity.store import changes
from identity.tokens.sessions import lifecycle
from tests.faults.replicas import Line, Replicas
from tests.proofs import effort

ROUNDS = effort(100, 500)
AT_ONCE = 8


def revoke_on_one_and_ask_the_other(lines: list[Line], rounds: int) -> int:
    """Stale answers in `rounds` rounds, each in the other direction than the one before."""
    stale = 0
    for _ in range(rounds):
        here, there = lines
        token = here.issue()
        assert there.active(token)  # now the other process remembers it
        here.revoke(token)
        stale += there.active(token)
        lines = [there, here]
    return stale


@pytest.mark.proof
def test_no_answer_is_stale_after_a_revocation(pair: Replicas) -> None:
    """A thousand revocations, 200 in the short form: half of them alone, half with seven others
    under way, where questions to the change feed are shared."""
    with pair.lines() as lines:
        assert revoke_on_one_and_ask_the_other(lines, ROUNDS) == 0

    def work(_: int) -> int:
        with pair.lines() as lines:
            return revoke_on_one_and_ask_the_other(lines, -(-ROUNDS // AT_ONCE))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert list(threads.map(work, range(AT_ONCE))) == [0] * AT_ONCE


def test_no_answer_is_stale_after_a_session_ended(pair: Replicas) -> None:
    user = pair.user()
    with pair.lines() as (here, there):
        for n in range(40):
            tokens = here.log_in(user.username)
            access, refresh = tokens["access_token"], tokens["refresh_token"]
            newer = here.refresh(refresh).document
            every = [access, newer["access_token"], newer["refresh_token"]]
            assert [there.active(token) for token in every] == [True] * 3
            if n % 2:
                here.revoke(newer["refresh_token"])
            else:
                with pair.db.transaction() as session:
                    lifecycle.end(session, here.introspect(access)["sid"], "test")
            assert [there.active(token) for token in every] == [False] * 3
            assert there.refresh(newer["refresh_token"]).status == 400
            here, there = there, here


@pytest.mark.parametrize("act", ["disabled", "deleted"])
def test_no_answer_is_stale_after_a_user_was(pair: Replicas, act: str) -> None:
    with pair.lines() as (here, there):
        for _ in range(15):
            user = pair.user()
            tokens = here.log_in(user.username)
            every = [tokens["access_token"], tokens["refresh_token"]]
            assert [line.active(token) for line in (here, there) for token in every] == [True] * 4
            with pair.db.transaction() as session:
                user = accounts.get(session, user.id, lock=True)
                if act == "disabled":
                    accounts.set_status(session, user, "disabled", None)
                else:
                    accounts.remove(session, user, None)
            # Its sessions have not even been ended: the user itself is what both processes ask.
            assert [line.active(token) for line in (here, there) for token in every] == [False] * 4


def test_no_answer_is_stale_after_a_role_lost_a_scope_or_a_user_a_role(pair: Replicas) -> None:
    with pair.lines() as (here, there):
        for n in range(15):
            scope = f"scope-{new_id()}"
            role = pair.role(scope)
            user = pair.user(role)
            token = here.log_in(user.username, scope=scope)["access_token"]
            assert [line.introspect(token)["scope"] for line in (here, there)] == [scope] * 2
            with pair.db.transaction() as session:
                if n % 2:
                    user = accounts.get(session, user.id, lock=True)
                    accounts.set_roles(session, user, [], None)
                else:
                    session.delete(session.get_one(RoleScope, (role, scope)))
                    changes.record(session, "role.changed", role)
            answers = [line.introspect(token) for line in (here, there)]
            assert [(answer["active"], answer["scope"]) for answer in answers] == [(True, "")] * 2


def test_no_answer_is_stale_after_the_client_was_disabled(pair: Replicas) -> None:
    user = pair.user()
    with pair.lines() as (here, there):
        for _ in range(10):
            token = here.log_in(user.username)["access_token"]
            assert there.active(token)
            pair.set_client_status("disabled")
            try:
                # The client is the one that asks, too: it is not even heard.
                assert [line.post("/introspect", token=token).status for line in (here, there)] == [
                    401, 401,
                ]  # fmt: skip
            finally:
                pair.set_client_status("active")
            assert there.active(token)


def test_no_answer_is_stale_after_a_key_was_revoked(pair: Replicas) -> None:
    settings = pair.settings
    with pair.lines() as (here, there):
        for _ in range(10):
            token = here.issue()
            assert there.active(token)
            with pair.db.transaction() as session:
                made = prepare("ES256", master.load(session, settings))
                active = select(SigningKey.kid).where(SigningKey.state == "active")
                kid = session.exec(active.where(SigningKey.serves == "")).one()
                rotation.revoke(session, settings, kid, made)
            assert [line.active(token) for line in (here, there)] == [False, False]
            assert [line.active(line.issue()) for line in (here, there)] == [True, True]
            for line in (here, there):
                published = {
                    key["kid"] for key in line.get("/.well-known/jwks.json").document["keys"]
                }
                assert kid not in published
