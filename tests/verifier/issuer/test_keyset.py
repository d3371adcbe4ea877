"""Keys are there before they are needed, after the issuer has gone, and never for the asking."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from identity.verifier import BadSignature, IssuerUnavailable, UnknownKey, Verifier
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.testing import Issuer
from tests.verifier.faulty import Faulty, turns, until

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"


def offline(issuer: Issuer, **options: Any) -> Verifier:
    """A verifier to which nothing matters but keys."""
    return issuer.verifier(**{"revocations": None, "client_id": None, **options})


def fetched(issuer: Issuer) -> int:
    return issuer.transport.requests.get(JWKS, 0)


async def test_a_key_that_came_while_the_sibling_slept_is_fetched_once(issuer: Issuer) -> None:
    async with offline(issuer) as verifier:
        issuer.rotate()
        tokens = [issuer.token() for _ in range(20)]
        verified = await asyncio.gather(*(verifier.verify(token) for token in tokens))
        assert {claims.kid for claims in verified} == {issuer.kid}
        assert fetched(issuer) == 2


async def test_a_flood_of_invented_keys_costs_one_fetch_a_cooldown(issuer: Issuer) -> None:
    async with offline(issuer, key_cooldown=5.0) as verifier:
        good = issuer.token()

        async def flood(number: int) -> None:
            for invented in range(number):
                token = issuer.sign({"sub": "mallory"}, kid=f"invented-{invented}")
                with pytest.raises(UnknownKey):
                    await verifier.verify(token)

        await flood(100)
        assert fetched(issuer) == 2
        issuer.clock.tick(4.9)
        await flood(100)
        assert fetched(issuer) == 2
        issuer.clock.tick(0.2)
        await flood(100)
        assert fetched(issuer) == 3
        assert verifier.check(good)


async def test_within_the_cooldown_a_refusal_takes_no_turn_of_the_loop(issuer: Issuer) -> None:
    async with offline(issuer) as verifier:
        token = issuer.sign({}, kid="invented")
        assert verifier.check(token) is None
        with pytest.raises(UnknownKey):
            await verifier.verify(token)
        with pytest.raises(UnknownKey):
            verifier.check(token)


async def test_keys_are_honoured_for_a_stated_time_while_the_issuer_is_down(
    issuer: Issuer,
) -> None:
    async with offline(issuer, honour_keys_for=3600.0) as verifier:
        with issuer.down():
            issuer.clock.tick(3500)
            await turns()
            old = issuer.token()
            assert await verifier.verify(old)
            issuer.rotate()
            with pytest.raises(IssuerUnavailable):  # not 401: it may well be good
                await verifier.verify(issuer.token())
            issuer.clock.tick(101)
            await turns()
            with pytest.raises(IssuerUnavailable):
                await verifier.verify(old)
        issuer.clock.tick(60)
        assert await verifier.verify(old)


async def test_a_verifier_starts_while_the_issuer_is_down(issuer: Issuer) -> None:
    with issuer.down():
        verifier = issuer.verifier()
        await verifier.start()
        with pytest.raises(IssuerUnavailable) as refused:
            await verifier.verify(issuer.token())
        assert (refused.value.status, refused.value.retry_after) == (503, 1.0)
    issuer.clock.tick(5)
    await until(lambda: verifier.staleness == 0)
    assert await verifier.verify(issuer.token())
    await verifier.close()


async def test_keys_are_refreshed_before_their_time_and_unchanged_ones_cost_no_body(
    issuer: Issuer,
) -> None:
    async with offline(issuer) as verifier:
        key = verifier._keys.current[issuer.kid]
        issuer.clock.tick(300)
        await until(lambda: fetched(issuer) == 2)
        await turns()
        assert verifier._keys.current[issuer.kid] is key
        issuer.rotate()
        issuer.clock.tick(300)
        await until(lambda: issuer.kid in verifier._keys.current)
        assert verifier._keys.current[key.kid] is key
        assert verifier.check(issuer.token())


async def test_a_key_that_is_gone_takes_its_known_tokens_along(issuer: Issuer) -> None:
    async with offline(issuer) as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        issuer.rotate(keep=0)
        issuer.clock.tick(300)
        await until(lambda: issuer.kid in verifier._keys.current)
        with pytest.raises(UnknownKey):
            await verifier.verify(token)


async def test_the_revocation_of_a_key_brings_its_successor(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        token = issuer.token()
        await verifier.verify(token)
        issuer.revoke(key=issuer.kid)
        await until(lambda: issuer.kid in verifier._keys.current)
        assert verifier.check(issuer.token())


async def test_keys_that_are_not_ours_to_use_are_left_out(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    good = issuer.jwks()["keys"][0]
    strange: list[Any] = [
        "not an object",
        {"kty": "oct", "kid": "secret", "alg": "HS256", "k": "AAAA"},
        {**good, "kid": "post-quantum", "alg": "ML-DSA-44"},
        {**good, "kid": "without alg", "alg": None},
        {**good, "kid": "for encryption", "use": "enc"},
        {**good, "kid": "off the curve", "x": good["y"], "y": good["x"]},
        {**good, "kid": 7},
        {**good, "kid": "twice"},
        {**good, "kid": "twice"},
        ALGORITHMS["RS256"].jwk(ALGORITHMS["RS256"].generate(), "another algorithm"),
    ]
    issuer.jwks = lambda: {"keys": [*strange, good]}  # type: ignore[method-assign]
    async with offline(issuer, algorithms=["ES256", "EdDSA"]) as verifier:
        assert set(verifier._keys.current) == {good["kid"]}
        assert verifier.check(issuer.token())
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b'{"keys": {}}',
        b'{"keys": [], "keys": []}',
        b"{}",
        b'{"keys": [' + b"1," * 100 + b"1]}",
        b" " * (1024 * 1024 + 1),
    ],
    ids=["html", "no list", "twice", "nothing", "too many", "too long"],
)
async def test_what_is_no_key_set_changes_nothing(issuer: Issuer, answer: bytes) -> None:
    transport = Instead(issuer)
    async with offline(issuer, transport=transport) as verifier:
        transport.answers[JWKS] = answer
        await verifier._keys.refresh()
        assert verifier._keys.failure is not None
        assert verifier.check(issuer.token())
        issuer.clock.tick(60)
        del transport.answers[JWKS]
        issuer.rotate()
        assert await verifier.verify(issuer.token())


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://another.test"}, "not of https://identity.test"),
        ({"jwks_uri": "http://identity.test/jwks"}, "no https address"),
        ({"jwks_uri": 7}, "no https address"),
        ({"jwks_uri": None}, "no jwks_uri"),
    ],
    ids=str,
)
async def test_metadata_that_lead_elsewhere_are_not_followed(
    issuer: Issuer, metadata: dict[str, Any], words: str
) -> None:
    changed = {**issuer.transport._metadata(), **metadata}
    issuer.transport._metadata = lambda: changed  # type: ignore[method-assign]
    async with offline(issuer) as verifier:
        with pytest.raises(IssuerUnavailable, match=words):
            await verifier.verify(issuer.token())
        assert fetched(issuer) == 0


async def test_an_issuer_with_a_path_is_found_behind_the_well_known_name() -> None:
    issuer = Issuer("https://example.test/tenants/one")
    async with offline(issuer) as verifier:
        assert await verifier.verify(issuer.token())
    assert issuer.transport.requests[f"{METADATA}/tenants/one"] == 1


async def test_another_key_under_a_known_name_verifies_nothing(issuer: Issuer) -> None:
    async with offline(issuer) as verifier:
        forged = Issuer(issuer.url, clock=issuer.clock)
        forged.rotate(keep=0)
        claims = {"iss": issuer.url, "aud": issuer.audience}
        with pytest.raises(BadSignature):
            await verifier.verify(forged.sign(claims, kid=issuer.kid))


async def test_who_waits_for_keys_may_leave_without_disturbing_the_rest(issuer: Issuer) -> None:
    transport = Faulty(issuer)
    async with offline(issuer, transport=transport) as verifier:
        issuer.rotate()
        transport.go.clear()
        first, second = (asyncio.create_task(verifier.verify(issuer.token())) for _ in range(2))
        await turns(10)
        first.cancel()
        transport.go.set()
        assert (await second).kid == issuer.kid
        assert fetched(issuer) == 2


class Instead(httpx.AsyncBaseTransport):
    """The issuer's transport, but for some paths."""

    def __init__(self, issuer: Issuer) -> None:
        self._inner = issuer.transport
        self.answers: dict[str, bytes] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path in self.answers:
            return httpx.Response(200, content=self.answers[request.url.path])
        return await self._inner.handle_async_request(request)
