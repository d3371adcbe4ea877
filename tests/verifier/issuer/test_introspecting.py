"""The issuer is asked once for each token at a time, and left alone while it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from identity.verifier import IssuerUnavailable, Revoked, Verifier
from identity.verifier.issuer.breaker import Breaker
from identity.verifier.testing import Issuer, MovableClock
from tests.verifier.faulty import Faulty, turns

INTROSPECT = "/introspect"


def asked(issuer: Issuer) -> int:
    return issuer.transport.requests.get(INTROSPECT, 0)


def asking(issuer: Issuer, **options: Any) -> Verifier:
    return issuer.verifier(revocations="introspection", **options)


async def test_a_hundred_who_ask_at_once_share_one_request(issuer: Issuer) -> None:
    transport = Faulty(issuer)
    async with asking(issuer, transport=transport) as verifier:
        token, other = issuer.token(), issuer.token()
        transport.go.clear()
        waiting = [asyncio.create_task(verifier.verify(token)) for _ in range(100)]
        waiting.append(asyncio.create_task(verifier.verify(other)))
        await turns(20)
        waiting[0].cancel()  # the one who asked first does not wait
        transport.go.set()
        await asyncio.gather(*waiting[1:])
        assert asked(issuer) == 2


async def test_an_answer_serves_for_its_ttl_and_no_longer(issuer: Issuer) -> None:
    async with asking(issuer, introspection_ttl=2.0) as verifier:
        token = issuer.token()
        assert verifier.check(token) is None
        assert await verifier.verify(token)
        issuer.revoke(token)
        issuer.clock.tick(1.9)
        assert verifier.check(token)
        issuer.clock.tick(0.2)
        with pytest.raises(Revoked):
            await verifier.verify(token)
        with pytest.raises(Revoked):
            verifier.check(token)
        assert asked(issuer) == 2


async def test_an_answer_never_outlives_its_token(issuer: Issuer) -> None:
    async with asking(issuer, introspection_ttl=3600.0) as verifier:
        token = issuer.token(expires_in=60)
        assert await verifier.verify(token)
        issuer.clock.tick(91)
        with pytest.raises(Exception, match="expired"):
            verifier.check(token)


async def test_an_issuer_that_keeps_failing_is_left_alone_and_tried_again(issuer: Issuer) -> None:
    async with asking(issuer) as verifier:
        issuer.transport.broken.add(INTROSPECT)
        for _ in range(50):
            with pytest.raises(IssuerUnavailable):
                await verifier.verify(issuer.token())
        assert asked(issuer) == 5
        issuer.clock.tick(1.3)
        for _ in range(50):
            with pytest.raises(IssuerUnavailable) as refused:
                await verifier.verify(issuer.token())
        assert asked(issuer) == 6
        assert refused.value.retry_after is not None
        assert 1 < refused.value.retry_after < 3
        issuer.transport.broken.clear()
        issuer.clock.tick(2.6)
        for _ in range(10):
            assert await verifier.verify(issuer.token())
        assert asked(issuer) == 16


def test_while_one_probes_the_others_are_turned_away() -> None:
    clock = MovableClock()
    breaker = Breaker(clock.monotonic)
    for _ in range(5):
        assert breaker.enter()
        breaker.failed()
    assert not breaker.enter()
    clock.tick(2)
    assert [breaker.enter() for _ in range(3)] == [True, False, False]
    breaker.abandoned()
    assert breaker.enter()
    breaker.succeeded()
    assert all(breaker.enter() for _ in range(10))
    assert breaker.retry_after == 0


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"active": "true"},
        {"active": 1},
        {"active": True, "jti": "another token's"},
        [True],
        "<html>",
    ],
    ids=str,
)
async def test_what_does_not_answer_the_question_is_no_answer(issuer: Issuer, answer: Any) -> None:
    def instead(form: object) -> httpx.Response:
        if isinstance(answer, str):
            return httpx.Response(200, text=answer)
        return httpx.Response(200, json=answer)

    issuer.transport._introspect = instead  # type: ignore[method-assign]
    async with asking(issuer) as verifier:
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(issuer.token())


async def test_an_issuer_that_asks_for_time_is_given_as_the_reason(issuer: Issuer) -> None:
    def busy(form: object) -> httpx.Response:
        return httpx.Response(503, headers={"retry-after": "7"})

    issuer.transport._introspect = busy  # type: ignore[method-assign]
    async with asking(issuer) as verifier:
        with pytest.raises(IssuerUnavailable) as refused:
            await verifier.verify(issuer.token())
        assert refused.value.retry_after == 7


async def test_answers_are_bounded_in_number(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from identity.verifier.issuer import introspecting

    monkeypatch.setattr(introspecting, "_REMEMBERED", 10)
    async with asking(issuer) as verifier:
        for _ in range(25):
            await verifier.verify(issuer.token())
        assert len(verifier._introspector._answers) <= 10
