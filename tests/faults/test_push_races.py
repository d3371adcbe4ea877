"""One pushed request brought by many tabs at once, over two processes."""

from functools import partial
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from sqlmodel import select

from identity.http.cookies import SESSION
from identity.opaque import digest, mint
from identity.tokens.codes import AuthorizationCode
from identity.tokens.sessions.table import BrowserSession
from tests.browsing import verifier_and_challenge
from tests.faults.racing import RACES, SIXTEEN, at_once, signed_in
from tests.faults.replicas import CLIENT, REDIRECT_URI, Answer, Line, Replicas


def cookie_of(pair: Replicas, browser_session_id: str) -> str:
    """A new one of the browser session."""
    value = mint("bs")
    with pair.db.transaction() as work:
        session = work.get_one(BrowserSession, browser_session_id)
        session.digest = digest(value)
        work.add(session)
    return f"{SESSION}={value}"


def bring(line: Line, request_uri: str, cookie: str) -> Answer:
    query = urlencode({"client_id": CLIENT, "request_uri": request_uri})
    return line.get(f"/authorize?{query}", cookie=cookie)


@pytest.mark.proof
def test_of_sixteen_tabs_with_one_pushed_request_one_gets_a_code(pair: Replicas) -> None:
    with pair.lines(*pair.servers * (SIXTEEN // 2)) as lines:
        for _ in range(RACES):
            browser = signed_in(pair, pair.user())
            cookie = cookie_of(pair, browser)
            verifier, challenge = verifier_and_challenge()
            answer = lines[0].post(
                "/par", response_type="code", redirect_uri=REDIRECT_URI, scope="openid",
                code_challenge=challenge, code_challenge_method="S256",
            )  # fmt: skip
            assert answer.status == 201, answer
            request_uri = answer.document["request_uri"]
            acts = [partial(bring, line, request_uri, cookie) for line in lines]
            answers = [each for each in at_once(*acts) if each is not None]
            (won,) = [each for each in answers if each.status == 303]
            assert [each.status for each in answers].count(409) == SIXTEEN - 1
            with pair.db.transaction() as work:
                codes = work.exec(
                    select(AuthorizationCode).where(AuthorizationCode.browser_session_id == browser)
                ).all()
            assert len(codes) == 1
            code = dict(parse_qsl(urlsplit(won.headers["location"]).query))["code"]
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
            lines[1].granted(**form, redirect_uri=REDIRECT_URI)
