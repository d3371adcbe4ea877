"""What a process remembers of tokens: bounded, and nothing of a token that has gone."""

from collections.abc import Awaitable, Callable

import pytest

from identity.tokens.known import Known, KnownTokens
from identity.verifier.gate.claims import VerifiedClaims
from tests.world import World

Verified = Callable[..., Awaitable[tuple[VerifiedClaims, str]]]

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


def put(known: KnownTokens, spelling: bytes, claims: VerifiedClaims) -> Known:
    """Of a client whose tokens call everybody by their id."""
    return known.put(spelling, claims, claims.subject)


@pytest.fixture
async def verified(world: World) -> Verified:
    """`await verified()`: a new token's claims and its refresh token, or what that gives next."""
    world.user()

    async def verified(refresh_token: str | None = None) -> tuple[VerifiedClaims, str]:
        if refresh_token is None:
            tokens = await world.log_in()
        else:
            tokens = (await world.refresh(refresh_token)).json()
        live = await world.services.live.find(tokens["access_token"])
        assert live is not None
        return live.claims, tokens["refresh_token"]

    return verified


async def test_the_one_that_was_not_asked_for_longest_goes_first(verified: Verified) -> None:
    known = KnownTokens(2)
    claims = [(await verified())[0] for _ in range(3)]
    a, _ = (put(known, name, each) for name, each in zip((b"a", b"b"), claims[:2], strict=True))
    assert known.find(b"a") is a
    c = put(known, b"c", claims[2])
    assert known.find(b"b") is None
    assert known.find(b"a") is a
    assert known.find(b"c") is c
    assert len(known) == 2


async def test_a_token_in_two_spellings_is_one_until_both_are_gone(verified: Verified) -> None:
    known = KnownTokens(2)
    (twice, _), (other, _) = await verified(), await verified()
    first = put(known, b"a", twice)
    assert put(known, b"a", twice) is put(known, b"b", twice) is first
    known.revoke(first.jti)
    put(known, b"c", other)  # "a" goes
    remaining = known.find(b"b")
    assert remaining is first and remaining.revoked
    known.revoke("unknown")
    for name in (b"d", b"e"):  # "b" goes, and with it the token
        put(known, name, (await verified())[0])
    put(known, b"f", twice)
    again = known.find(b"f")
    assert again is not None and again is not first and not again.revoked


async def test_a_session_ends_for_all_of_its_tokens_and_goes_with_the_last(
    verified: Verified,
) -> None:
    known = KnownTokens(2)
    one, refresh_token = await verified()
    two, _ = await verified(refresh_token)
    assert one.session == two.session
    first, second = put(known, b"a", one), put(known, b"b", two)
    assert first.session is second.session is not None
    put(known, b"c", (await verified())[0])  # "a" goes, the session stays
    known.end(str(one.session))
    assert second.session.ended
    known.end("unknown")
    put(known, b"d", (await verified())[0])  # "b" goes, and with it the session
    fresh = put(known, b"a", one)
    assert fresh.session is not None and not fresh.session.ended


async def test_a_token_with_the_id_of_another_is_kept_apart_and_not_remembered(
    verified: Verified,
) -> None:
    """We mint none; whoever has stolen a key might."""
    known = KnownTokens(10)
    claims, refresh_token = await verified()
    forged, _ = await verified(refresh_token)
    ours = put(known, b"a", claims)
    known._tokens[forged.token_id] = ours  # as if both had one id
    theirs = put(known, b"b", forged)
    assert theirs is not ours and theirs.session is not ours.session
    assert known.find(b"b") is None


async def test_nothing_is_known_once_cleared(verified: Verified) -> None:
    known = KnownTokens(10)
    claims, _ = await verified()
    first = put(known, b"a", claims)
    known.clear()
    assert len(known) == 0 and known.find(b"a") is None
    assert put(known, b"a", claims) is not first
