"""One refresh token used by many at once, and uses of it that race with its end, over two
processes: the short form of rows of `make faults`."""

from functools import partial

import pytest

from tests.faults.racing import (
    ENDS,
    Act,
    End,
    at_once,
    end_by_changing_the_password,
    end_by_disabling,
    handed_out,
    refresh_against,
    sixteen_uses,
)
from tests.faults.replicas import PASSWORD, Replicas
from tests.trials.row import keeps


def test_sixteen_uses_at_once_make_one_lineage(pair: Replicas) -> None:
    keeps(sixteen_uses, pair, 12)


@pytest.mark.parametrize("end", ENDS)
def test_a_refresh_that_races_with_the_end_leaves_no_survivor(pair: Replicas, end: End) -> None:
    keeps(partial(refresh_against, end), pair, 15)


@pytest.mark.parametrize("end", [end_by_disabling, end_by_changing_the_password])
def test_a_login_that_races_with_the_end_leaves_no_survivor(pair: Replicas, end: End) -> None:
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
