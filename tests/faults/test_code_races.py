"""One code redeemed by many at once, and many codes of one browser, over two processes."""

from collections import Counter
from functools import partial

import pytest

from identity.authentication import browser
from tests.faults.racing import (
    RACES,
    SIXTEEN,
    Act,
    at_once,
    code_of,
    handed_out,
    is_dead,
    redeeming,
    sessions_of,
    signed_in,
    sixteen_redemptions,
)
from tests.faults.replicas import Replicas
from tests.trials.row import keeps
from tests.world import claims_of


@pytest.mark.proof
def test_of_sixteen_redemptions_of_one_code_one_wins_and_the_others_end_it(pair: Replicas) -> None:
    told_before = Counter(event.detail["sid"] for event in pair.events("code.replayed"))
    keeps(sixteen_redemptions, pair, RACES)
    told = Counter(event.detail["sid"] for event in pair.events("code.replayed")) - told_before
    assert list(told.values()) == [SIXTEEN - 1] * RACES


def test_codes_of_one_browser_that_are_redeemed_at_once_share_one_session(pair: Replicas) -> None:
    with pair.lines(*pair.servers * 4) as lines:
        for _ in range(6):
            user = pair.user()
            browser_session_id = signed_in(pair, user)
            forms = [code_of(pair, user, browser_session_id) for _ in lines]
            answers = at_once(
                *(
                    partial(line.post, "/token", **form)
                    for line, form in zip(lines, forms, strict=True)
                )
            )
            documents = handed_out(answers)
            assert len(documents) == len(lines)
            (session,) = sessions_of(pair, user)
            assert {claims_of(each["id_token"])["sid"] for each in documents} == {session.id}
            assert pair.live_refresh_tokens(session.id) == len(lines)


@pytest.mark.parametrize("first", ["sign-out", "code"])
def test_a_redemption_that_races_with_signing_out_leaves_no_survivor(
    pair: Replicas, first: str
) -> None:
    with pair.lines() as lines:
        for _ in range(10):
            user = pair.user()
            browser_session_id = signed_in(pair, user)
            form = code_of(pair, user, browser_session_id)

            def sign_out(ended: str = browser_session_id) -> None:
                with pair.db.transaction() as work:
                    assert browser.end(work, ended, "signed out")

            uses = redeeming(lines[:1], form)
            acts: list[Act] = [sign_out, *uses] if first == "sign-out" else [*uses, sign_out]
            for won in handed_out([each for each in at_once(*acts) if each is not None]):
                assert is_dead(lines, won)
                assert lines[1].refresh(won["refresh_token"]).status == 400
