"""One code redeemed by many at once, and many codes of one browser, over two processes."""

from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import select

from identity.authentication import browser
from identity.clock import utcnow
from identity.directory.users.table import User
from identity.opaque import digest, mint
from identity.tokens.codes import LIFE, PREFIX, AuthorizationCode
from identity.tokens.sessions.table import BrowserSession, LoginSession
from tests.browsing import verifier_and_challenge
from tests.faults.replicas import CLIENT, REDIRECT_URI, Line, Replicas
from tests.faults.test_refresh_races import Act, at_once, handed_out
from tests.proofs import effort
from tests.world import claims_of

SIXTEEN = 16
RACES = effort(20, 100, 1000)


def signed_in(pair: Replicas, user: User) -> str:
    """The id of a browser session."""
    now = utcnow()
    session = BrowserSession(
        digest=digest(mint("bs")), user_id=user.id, amr=["pwd"], acr="aal1",
        authenticated_at=now, expires_at=now + timedelta(hours=1),
    )  # fmt: skip
    with pair.db.transaction() as work:
        work.add(session)
    return session.id


def code_of(pair: Replicas, user: User, browser_session_id: str) -> dict[str, str]:
    """The form that redeems a new code."""
    code, (verifier, challenge) = mint(PREFIX), verifier_and_challenge()
    now = utcnow()
    with pair.db.transaction() as work:
        work.add(
            AuthorizationCode(
                digest=digest(code),
                client_id=CLIENT,
                user_id=user.id,
                browser_session_id=browser_session_id,
                redirect_uri=REDIRECT_URI,
                code_challenge=challenge,
                scope="openid",
                authenticated_at=now,
                amr=["pwd"],
                acr="aal1",
                expires_at=now + LIFE,
            )
        )
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
    }


def redeeming(lines: list[Line], form: dict[str, str]) -> list[Act]:
    return [partial(line.post, "/token", **form) for line in lines]


def sessions_of(pair: Replicas, user: User) -> list[LoginSession]:
    with pair.db.transaction() as work:
        return list(work.exec(select(LoginSession).where(LoginSession.user_id == user.id)).all())


def is_dead(lines: list[Line], document: dict[str, Any]) -> bool:
    return not any(
        line.active(document[name]) for line in lines for name in ("access_token", "refresh_token")
    )


@pytest.mark.proof
def test_of_sixteen_redemptions_of_one_code_one_wins_and_the_others_end_it(pair: Replicas) -> None:
    ended = []
    with pair.lines(*pair.servers * (SIXTEEN // 2)) as lines:
        for _ in range(RACES):
            user = pair.user()
            form = code_of(pair, user, signed_in(pair, user))
            (won,) = handed_out(at_once(*redeeming(lines, form)))
            (session,) = sessions_of(pair, user)
            assert session.id == claims_of(won["access_token"])["sid"]
            assert session.end_reason == "authorization code replayed"
            assert pair.live_refresh_tokens(session.id) == 0
            assert is_dead(lines[:2], won)
            ended.append(session.id)
    told = Counter(event.detail["sid"] for event in pair.events("code.replayed"))
    assert [told[sid] for sid in ended] == [SIXTEEN - 1] * RACES


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
