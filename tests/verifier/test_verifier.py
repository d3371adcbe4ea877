"""What a verifier says of a token: from memory, by policy, and by name where it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from identity.verifier import (
    BadSignature,
    Expired,
    InsufficientScope,
    IssuerUnavailable,
    Malformed,
    NotForUs,
    NotYetValid,
    Revoked,
    StaleKnowledge,
    TokenRefused,
    UnknownKey,
    Verifier,
)
from identity.verifier.testing import Issuer
from tests.verifier.faulty import turns, until

INTROSPECT = "/introspect"


async def refusal(verifier: Verifier, token: Any, *scopes: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as refused:
        await verifier.verify(token, *scopes)
    return refused.value


async def test_a_verified_token_has_types(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        text = issuer.token(
            "alice", ["orders:read", "orders:write"], username="Alice", roles=["clerk"]
        )
        for token in (text, text.encode(), text):
            claims = await verifier.verify(token, "orders:read")
            assert (claims.subject, claims.username, claims.client_id) == (
                "alice",
                "Alice",
                "first-party",
            )
            assert claims.scopes == {"orders:read", "orders:write"}
            assert claims.roles == ("clerk",)
            assert claims.session == "session-of-alice"
            assert claims.expires_at == int(issuer.clock.now()) + 900
            assert claims.claims["iss"] == issuer.url


async def test_each_refusal_has_its_name(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        good = issuer.token()
        wrong: dict[type[TokenRefused], Any] = {
            Expired: issuer.token(expires_in=-1),
            NotForUs: issuer.token(audience="https://elsewhere.test"),
            NotYetValid: issuer.token(nbf=int(issuer.clock.now()) + 60),
            UnknownKey: issuer.sign({}, kid="invented"),
            BadSignature: good[:-6] + "AAAAAA",
            Malformed: "not a token",
        }
        for name, token in wrong.items():
            error = await refusal(verifier, token)
            assert type(error) is name
            assert (error.status, error.code) == (401, "invalid_token")
        for token in (issuer.token(exp="soon"), issuer.token(exp=None), None, 7, b"\xff", "\udc80"):
            assert type(await refusal(verifier, token)) is Malformed
        assert type(await refusal(verifier, issuer.token(iss="https://x.test"))) is NotForUs


async def test_scopes_of_the_verifier_and_of_the_call_are_all_needed(issuer: Issuer) -> None:
    async with issuer.verifier(scopes=["orders"]) as verifier:
        assert await verifier.verify(issuer.token(scope="orders a b"), "a", "b")
        for scope in ("", "orders a", "a b"):
            error = await refusal(verifier, issuer.token(scope=scope), "a", "b")
            assert isinstance(error, InsufficientScope)
            assert (error.status, error.needed) == (403, ("a", "b", "orders"))


async def test_a_known_token_needs_no_turn_of_the_loop_and_no_request(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        token = issuer.token()
        assert verifier.check(token) is verifier.check(token)
        issuer.clock.tick(901 + 30)
        with pytest.raises(Expired):
            verifier.check(token)
        assert INTROSPECT not in issuer.transport.requests


async def test_a_clock_that_goes_back_does_not_make_a_known_token_valid_early(
    issuer: Issuer,
) -> None:
    async with issuer.verifier() as verifier:
        token = issuer.token()
        assert verifier.check(token)
        issuer.clock.skew = -31
        with pytest.raises(NotYetValid):
            verifier.check(token)


@pytest.mark.parametrize("skew", [-20.0, 20.0])
async def test_a_clock_that_is_off_by_twenty_seconds_refuses_no_valid_token(skew: float) -> None:
    issuer, sibling = Issuer(), Issuer().clock
    sibling._start = issuer.clock._start
    sibling.skew = skew
    issuer.clock.listen(lambda: sibling.tick(issuer.clock.monotonic() - sibling.monotonic()))
    async with issuer.verifier(clock=sibling) as verifier:
        fresh, old = issuer.token(), issuer.token(session="doomed")
        assert await verifier.verify(fresh)
        issuer.clock.tick(899)
        assert await verifier.verify(fresh)
        assert await verifier.verify(issuer.token())
        issuer.revoke(session="doomed")
        assert type(await refusal(verifier, old)) is Revoked
        again = issuer.token()
        issuer.clock.tick(2)
        issuer.revoke(subject="alice")
        assert type(await refusal(verifier, again)) is Revoked
        issuer.clock.tick(1)
        assert await verifier.verify(issuer.token())


async def test_of_one_second_the_issuer_is_asked_and_its_answer_kept(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        before = issuer.token()
        issuer.revoke(subject="alice")
        issuer.clock._start += 1e-3
        after = issuer.token()
        assert type(await refusal(verifier, before)) is Revoked
        assert await verifier.verify(after)
        issuer.clock.tick(10)
        assert verifier.check(after)
        assert issuer.transport.requests[INTROSPECT] == 2


async def test_of_one_second_without_the_means_to_ask_all_are_refused(issuer: Issuer) -> None:
    async with issuer.verifier(client_id=None) as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        issuer.revoke(subject="alice")
        assert type(await refusal(verifier, token)) is Revoked


# --- What is done beyond the bound ---------------------------------------------------------------


async def stale(issuer: Issuer, verifier: Verifier) -> None:
    """The feed alone breaks: the issuer itself still answers."""
    issuer.transport.broken.add("/revocations")
    issuer.prompt = False
    issuer.transport.wake()
    # The stream that is open says nothing more either.
    for task in verifier._tasks:
        task.cancel()
    await turns()
    issuer.clock.tick(6)


async def test_beyond_the_bound_it_introspects(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        good, dead = issuer.token(), issuer.token()
        assert verifier.check(dead)
        await stale(issuer, verifier)
        issuer.revoke(dead)
        assert verifier.staleness == 6
        assert verifier.check(good) is None
        assert await verifier.verify(good)
        assert verifier.check(good)
        assert type(await refusal(verifier, dead)) is Revoked
        assert issuer.transport.requests[INTROSPECT] == 2
        issuer.transport.broken.add(INTROSPECT)
        assert verifier.check(good)  # for as long as the answer is fresh
        issuer.clock.tick(1.1)
        error = await refusal(verifier, good)
        assert type(error) is StaleKnowledge
        assert (error.status, error.retry_after) == (503, 1.0)
        assert "6" not in error.description


async def test_beyond_the_bound_it_refuses(issuer: Issuer) -> None:
    async with issuer.verifier(on_stale="refuse") as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        await stale(issuer, verifier)
        assert type(await refusal(verifier, token)) is StaleKnowledge
        assert INTROSPECT not in issuer.transport.requests


async def test_beyond_the_bound_it_accepts_but_never_what_it_knows_to_be_dead(
    issuer: Issuer,
) -> None:
    async with issuer.verifier(on_stale="accept") as verifier:
        token, dead = issuer.token(), issuer.token()
        issuer.revoke(dead)
        await stale(issuer, verifier)
        assert verifier.check(token)
        assert type(await refusal(verifier, dead)) is Revoked


async def test_within_the_bound_an_outage_is_not_noticed(issuer: Issuer) -> None:
    async with issuer.verifier(max_staleness=60) as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        with issuer.down():
            issuer.clock.tick(60)
            assert verifier.check(token)
            assert await verifier.verify(issuer.token())
            issuer.clock.tick(0.5)
            assert type(await refusal(verifier, token)) is StaleKnowledge
            issuer.revoke(token)
        issuer.clock.tick(1)
        assert type(await refusal(verifier, token)) is Revoked


async def test_without_revocations_a_token_is_good_until_it_expires(issuer: Issuer) -> None:
    async with issuer.verifier(client_id=None, revocations=None) as verifier:
        token = issuer.token()
        issuer.revoke(token)
        assert verifier.check(token)
        assert verifier.staleness == 0


async def test_what_another_told_is_in_force_as_well(issuer: Issuer) -> None:
    issuer.prompt = False
    async with issuer.verifier(client_id=None, revocations=None) as verifier:
        token = issuer.token()
        issuer.revoke(token)
        verifier.learn(issuer.ledger.entries[0])
        assert type(await refusal(verifier, token)) is Revoked


# --- What is remembered --------------------------------------------------------------------------


async def test_no_more_tokens_are_remembered_than_was_said(issuer: Issuer) -> None:
    async with issuer.verifier(cache_size=10) as verifier:
        favourite = issuer.token()
        known = verifier.check(favourite)
        for _ in range(30):
            assert verifier.check(issuer.token(listed=False))
            assert verifier.check(favourite) is known
        assert len(verifier._checking.known) == 10


async def test_with_a_cache_of_none_every_token_is_verified_anew(issuer: Issuer) -> None:
    async with issuer.verifier(cache_size=0) as verifier:
        token = issuer.token()
        assert verifier.check(token) is not verifier.check(token)


# --- Life ----------------------------------------------------------------------------------------


async def test_it_starts_with_the_first_token_and_can_be_started_again(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    token = issuer.token()
    assert verifier.check(token) is None
    assert await verifier.verify(token)
    with pytest.raises(RuntimeError, match="started"):
        verifier.connect_to(None)
    await verifier.close()
    assert await verifier.verify(token)
    await verifier.close()


def test_a_loop_that_ended_without_close_is_left_behind(issuer: Issuer) -> None:
    import asyncio

    verifier, token = issuer.verifier(), issuer.token()

    async def forgetful() -> None:
        assert await verifier.verify(token)

    asyncio.run(forgetful())
    issuer.prompt = False
    issuer.clock.tick(10)

    async def next_one() -> None:
        assert await verifier.verify(token)
        await until(lambda: verifier.staleness == 0)
        await verifier.close()

    asyncio.run(next_one())


@pytest.mark.parametrize(
    "options",
    [
        {"on_stale": "hope"},
        {"scopes": "orders:read"},
        {"revocations": "smoke signals"},
        {"revocations": "poll"},
        {"leeway": 31},
        {"algorithms": ["HS256"]},
        {"client_secret": "x"},
        {"client_id": "a", "client_secret": "b", "token": "c"},
        {"issuer": "identity.example"},
        {"issuer": "https://identity.example/?a=b"},
        {"audience": ""},
        {"max_staleness": -1},
        {"introspection_ttl": -0.1},
        {"cache_size": -1},
        {"http_timeout": -1},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any]) -> None:
    usual = {"issuer": "https://identity.example", "audience": "https://api.example"}
    with pytest.raises(ValueError, match=r"."):
        Verifier(**{**usual, **options})


@pytest.mark.parametrize(
    "options",
    [{"scopes": "orders:read"}, {"algorithms": "ES256"}, {"nonce_keys": b"x" * 32}],
    ids=str,
)
def test_one_where_several_are_expected_is_refused_by_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} are a list, not one of them"):
        Verifier("https://identity.example", "https://api.example", **options)


async def test_an_issuer_that_has_no_keys_for_us_is_unavailable(issuer: Issuer) -> None:
    issuer.transport.broken.add("/.well-known/jwks.json")
    async with issuer.verifier() as verifier:
        assert type(await refusal(verifier, issuer.token())) is IssuerUnavailable
