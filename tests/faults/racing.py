"""One refresh token or code used by many at once, and uses that race with its end."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

from sqlmodel import select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import utcnow
from identity.directory import consents
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.opaque import digest, mint
from identity.tokens.codes import LIFE, PREFIX, AuthorizationCode
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import BrowserSession, LoginSession
from tests.browsing import verifier_and_challenge
from tests.faults.replicas import CLIENT, REDIRECT_URI, Answer, Line, Replicas
from tests.proofs import effort
from tests.trials.row import Outcome
from tests.world import claims_of

ANOTHER = PasswordHasher(4).hash("another password")
SIXTEEN = 16
RACES = effort(20, 100, 1000)
Act = Callable[[], Any]
End = Callable[[Replicas, Line, User, str], Act]


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


@contextmanager
def many(pair: Replicas, count: int) -> Any:
    """So many connections, spread over the servers."""
    with pair.lines(*pair.servers * (count // len(pair.servers))) as lines:
        yield lines


def sixteen_uses(pair: Replicas, dice: random.Random) -> Outcome:
    """Of one refresh token: one lineage is alive, and goes on until the first is used again."""
    seen = Outcome()
    with many(pair, SIXTEEN) as lines:
        login = lines[0].log_in(pair.user().username)
        sid = lines[0].introspect(login["access_token"])["sid"]
        token = login["refresh_token"]
        documents = handed_out(at_once(*(partial(line.refresh, token) for line in lines)))
        successors = [document["refresh_token"] for document in documents]
        seen.see(bool(successors), "nobody got a successor")
        seen.see(len(set(successors)) == len(successors), "one successor was given twice")
        alive = [each for each in successors if dice.choice(lines).active(each)]
        if not seen.see(len(alive) == 1, f"{len(alive)} successors are alive"):
            return seen
        seen.see(pair.live_refresh_tokens(sid) == 1, "not one token could be used")
        following = dice.choice(lines).refresh(alive[0])
        if seen.see(following.status == 200, f"the living one: {following.status}"):
            seen.see(pair.live_refresh_tokens(sid) == 1, "not one token could be used then")
            seen.see(dice.choice(lines).refresh(token).status == 400, "a replay was taken")
            seen.see(pair.live_refresh_tokens(sid) == 0, "the lineage outlives a replay")
            access = following.document["access_token"]
            seen.see(not dice.choice(lines).active(access), "a token outlives a replay")
    return seen


# --- What ends a session ------------------------------------------------------------------------


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


def end_by_withdrawing_the_consent(pair: Replicas, line: Line, user: User, token: str) -> Act:
    """As the page of a person's applications does it."""
    with pair.db.transaction() as session:
        session.add(consents.Consent(user_id=user.id, client_id=CLIENT, scopes=["openid"]))

    def act() -> None:
        with pair.db.transaction() as session:
            accounts.get(session, user.id, lock=True)
            assert consents.withdraw(session, user.id, CLIENT)
            lifecycle.end_all(session, "consent withdrawn", user_id=user.id, client_id=CLIENT)

    return act


ENDS: tuple[End, ...] = (
    end_by_revoking, end_by_disabling, end_by_changing_the_password,
    end_by_withdrawing_the_consent,
)  # fmt: skip


def refresh_against(end: End, pair: Replicas, dice: random.Random) -> Outcome:
    """Two refreshes and the end at once: once those have returned nothing is alive."""
    seen = Outcome()
    with many(pair, 4) as (here, there, ending, _):
        user = pair.user()
        login = here.log_in(user.username)
        token = login["refresh_token"]
        acts: list[Act] = [partial(line.refresh, token) for line in (here, there)]
        acts.insert(dice.randrange(3), end(pair, ending, user, token))
        documents = handed_out([each for each in at_once(*acts) if each is not None])
        for document in (login, *documents):
            for line in (here, there):
                for name in ("access_token", "refresh_token"):
                    seen.see(not line.active(document[name]), f"the {name} lives on")
            again = here.refresh(document["refresh_token"]).status
            seen.see(again == 400, f"a refresh after the end: {again}")
    return seen


def refresh_against_any(pair: Replicas, dice: random.Random) -> Outcome:
    return refresh_against(dice.choice(ENDS), pair, dice)


# --- Codes ---------------------------------------------------------------------------------------


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


def sixteen_redemptions(pair: Replicas, dice: random.Random) -> Outcome:
    """Of one code: one wins, and the others end what it got."""
    seen = Outcome()
    with many(pair, SIXTEEN) as lines:
        user = pair.user()
        form = code_of(pair, user, signed_in(pair, user))
        won = handed_out(at_once(*redeeming(dice.sample(lines, SIXTEEN), form)))
        sessions = sessions_of(pair, user)
        if not seen.see((len(won), len(sessions)) == (1, 1), f"{len(won)} were given tokens"):
            return seen
        (session,) = sessions
        seen.see(session.id == claims_of(won[0]["access_token"])["sid"], "of another session")
        seen.see(session.end_reason == "authorization code replayed", "the session goes on")
        seen.see(pair.live_refresh_tokens(session.id) == 0, "a refresh token is left")
        seen.see(is_dead(lines[:2], won[0]), "a token lives on")
    return seen
