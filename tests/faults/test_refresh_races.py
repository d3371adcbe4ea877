"""One refresh token used by many at once, and uses of it that race with its end, over two
processes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.tokens.sessions import lifecycle
from tests.faults.replicas import PASSWORD, Answer, Line, Replicas

ANOTHER = PasswordHasher(4).hash("another password")
Act = Callable[[], Any]


def at_once(*acts: Act) -> list[Any]:
    """What each of `acts` returned; all are released together."""
    ready = Barrier(len(acts))

    def run(act: Act) -> Any:
        ready.wait(10)
        return act()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


def handed_out(answers: list[Answer]) -> list[dict[str, Any]]:
    """The documents of those that succeeded; the others are refusals, never failures."""
    refusals = [answer.document for answer in answers if answer.status != 200]
    assert {answer["error"] for answer in refusals} <= {"invalid_grant"}
    return [answer.document for answer in answers if answer.status == 200]


def test_sixteen_uses_at_once_make_one_lineage(pair: Replicas) -> None:
    user = pair.user()
    with pair.lines(*pair.servers * 8) as lines:
        for _ in range(12):
            login = lines[0].log_in(user.username)
            sid = lines[0].introspect(login["access_token"])["sid"]
            token = login["refresh_token"]
            answers = at_once(*(partial(line.refresh, token) for line in lines))
            documents = handed_out(answers)
            assert documents
            successors = [document["refresh_token"] for document in documents]
            assert len(set(successors)) == len(successors)
            assert pair.live_refresh_tokens(sid) == 1
            alive = [successor for successor in successors if lines[0].active(successor)]
            assert len(alive) == 1
            # It goes on from the living one, and the first has had its retries.
            following = lines[1].refresh(alive[0])
            assert following.status == 200
            assert pair.live_refresh_tokens(sid) == 1
            assert lines[0].refresh(token).status == 400
            assert pair.live_refresh_tokens(sid) == 0
            assert not lines[1].active(following.document["access_token"])


def end_by_revoking(pair: Replicas, line: Line, user: User, token: str) -> Act:
    return partial(line.revoke, token)


def end_by_disabling(pair: Replicas, line: Line, user: User, token: str) -> Act:
    def act() -> None:
        with pair.db.transaction() as session:
            found = accounts.get(session, user.id, lock=True)
            accounts.set_status(session, found, "disabled", None)
            lifecycle.end_all(session, "user disabled", user_id=user.id)

    return act


def end_by_changing_the_password(pair: Replicas, line: Line, user: User, token: str) -> Act:
    def act() -> None:
        with pair.db.transaction() as session:
            found = accounts.get(session, user.id, lock=True)
            accounts.set_password_hash(session, found, ANOTHER, must_change=False, held=None)
            lifecycle.end_all(session, "password changed", user_id=user.id)

    return act


@pytest.mark.parametrize("end", [end_by_revoking, end_by_disabling, end_by_changing_the_password])
def test_a_refresh_that_races_with_the_end_leaves_no_survivor(
    pair: Replicas, end: Callable[..., Act]
) -> None:
    with pair.lines(*pair.servers * 2) as lines:
        here, there, ending, _ = lines
        for n in range(20):
            user = pair.user()
            login = here.log_in(user.username)
            token = login["refresh_token"]
            uses: list[Act] = [partial(line.refresh, token) for line in (here, there)]
            act = end(pair, ending, user, token)
            answers = at_once(*([act, *uses] if n % 2 else [*uses, act]))
            documents = handed_out([answer for answer in answers if answer is not None])
            for document in (login, *documents):
                for line in (here, there):
                    assert not line.active(document["access_token"])
                    assert not line.active(document["refresh_token"])
                assert here.refresh(document["refresh_token"]).status == 400


@pytest.mark.parametrize("end", [end_by_disabling, end_by_changing_the_password])
def test_a_login_that_races_with_the_end_leaves_no_survivor(
    pair: Replicas, end: Callable[..., Act]
) -> None:
    form = {"grant_type": "password", "password": PASSWORD}
    with pair.lines() as (here, there):
        for n in range(20):
            user = pair.user()
            logins: list[Act] = [
                partial(line.post, "/token", username=user.username, **form)
                for line in (here, there)
            ]
            act = end(pair, here, user, "")
            answers = at_once(*([act, *logins] if n % 2 else [*logins, act]))
            for document in handed_out([answer for answer in answers if answer is not None]):
                for line in (here, there):
                    assert not line.active(document["access_token"])
                    assert not line.active(document["refresh_token"])
