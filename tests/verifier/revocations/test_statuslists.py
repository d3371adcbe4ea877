"""Status lists are read as the draft writes them, and revocations show within their `ttl`."""

from __future__ import annotations

import zlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier import InsufficientScope, Revoked, StaleKnowledge, Verifier
from identity.verifier.gate.encoding import b64url_decode, b64url_encode
from identity.verifier.revocations.statuslists import StatusList, read
from identity.verifier.testing import Issuer
from tests.verifier.faulty import turns, until

PATH = "/status-lists/1"
URI = "https://identity.test/status-lists/1"


def an_issuer() -> Issuer:
    return Issuer(prompt=False)


def a_verifier(issuer: Issuer, **options: Any) -> Verifier:
    """By lists alone: without credentials there is nobody to ask."""
    return issuer.verifier(**{"client_id": None, **options})


def fetched(issuer: Issuer) -> int:
    return issuer.transport.requests.get(PATH, 0)


async def dead(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except Revoked:
        return True
    return False


def test_the_first_status_is_in_the_lowest_bit() -> None:
    # The draft's own example of one bit (§4.1): sixteen statuses in B9 A3.
    bits = StatusList(bytes([0xB9, 0xA3]), 1, 60)
    wanted = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    assert [bits.get(index) for index in range(17)] == [*wanted, None]
    # And of two bits: twelve in C9 44 F9.
    pairs = StatusList(bytes([0xC9, 0x44, 0xF9]), 2, 60)
    assert [pairs.get(i) for i in range(13)] == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3, None]


@given(st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 255), max_size=64))
def test_statuses_of_every_size_come_out_as_they_went_in(bits: int, values: list[int]) -> None:
    statuses = [value % (1 << bits) for value in values]
    octets = bytearray(-(-len(statuses) * bits // 8))
    for index, status in enumerate(statuses):
        octets[index * bits // 8] |= status << index * bits % 8
    got = StatusList(bytes(octets), bits, 60)
    assert [got.get(index) for index in range(len(statuses))] == statuses


async def test_a_verifier_without_credentials_knows_by_the_list() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        assert verifier.revocations == "status-list"
        tokens = [issuer.token(session=f"s{number}") for number in range(10)]
        issuer.revoke(tokens[3])
        issuer.revoke(session="s5")
        assert [await dead(verifier, token) for token in tokens] == [
            number in (3, 5) for number in range(10)
        ]
        assert fetched(issuer) == 1
        assert verifier.staleness == 0
        assert verifier.check(tokens[0])
        with pytest.raises(InsufficientScope):
            verifier.check(tokens[0], "orders:read")


@pytest.mark.parametrize("act", ["token", "session", "subject", "client"])
async def test_a_revocation_shows_within_the_ttl(act: str) -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        token = issuer.token("bob", client_id="app")
        assert not await dead(verifier, token)
        await turns()
        issuer.clock.tick(2)
        refs = {"session": "session-of-bob", "subject": "bob", "client": "app"}
        if act == "token":
            issuer.revoke(token)
        else:
            issuer.revoke(**{act: refs[act]})
        assert not await dead(verifier, token)
        issuer.clock.tick(issuer.status_ttl)
        assert await dead(verifier, token)


async def test_a_list_in_use_is_fetched_ahead_and_one_out_of_use_left_alone() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        for _ in range(100):
            issuer.clock.tick(1)
            await turns(30)
            assert verifier.check(token)  # never has to wait
            assert verifier.staleness < issuer.status_ttl
        assert 8 < fetched(issuer) < 20
        for _ in range(40):
            issuer.clock.tick(60)
            await turns(30)
        assert fetched(issuer) < 60
        assert verifier.staleness == float("inf")


async def test_a_bound_below_the_ttl_is_kept() -> None:
    issuer = an_issuer()
    issuer.status_ttl = 3600
    async with a_verifier(issuer, max_staleness=5.0) as verifier:
        token = issuer.token()
        assert not await dead(verifier, token)
        issuer.revoke(token)
        issuer.clock.tick(5)
        assert await dead(verifier, token)


async def test_an_outage_is_met_by_the_policy_once_the_list_is_too_old() -> None:
    issuer = an_issuer()
    async with (
        a_verifier(issuer) as strict,
        a_verifier(issuer, on_stale="accept") as lenient,
    ):
        token = issuer.token()
        assert not await dead(strict, token)
        assert not await dead(lenient, token)
        with issuer.down():
            issuer.clock.tick(14)
            await turns()
            assert strict.check(token)
            issuer.clock.tick(1)
            await turns()
            with pytest.raises(StaleKnowledge):
                await strict.verify(token)
            assert await lenient.verify(token)
            issuer.revoke(token)
        issuer.clock.tick(60)
        await turns()
        assert await dead(strict, token)
        assert await dead(lenient, token)


async def test_whose_token_names_no_list_is_introspected() -> None:
    issuer = an_issuer()
    async with issuer.verifier(revocations="status-list") as verifier:
        token = issuer.token(listed=False)
        assert await verifier.verify(token)
        assert issuer.transport.requests["/introspect"] == 1
    async with a_verifier(issuer) as verifier:
        with pytest.raises(StaleKnowledge):
            await verifier.verify(token)


async def test_an_index_beyond_the_list_is_not_good() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        status = {"status_list": {"idx": 1 << 20, "uri": URI}}
        assert await dead(verifier, issuer.token(status=status))


async def test_a_list_signed_with_a_new_key_brings_that_key() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        old = issuer.token()
        issuer.rotate()
        assert await verifier.verify(old)
        assert issuer.kid in verifier._keys.current


def signed(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    now = int(issuer.clock.now())
    content = {"bits": 1, "lst": b64url_encode(zlib.compress(bytes(512))).decode()}
    claims = {"sub": URI, "iat": now, "exp": now + 600, "ttl": 15, "status_list": content}
    return {**claims, **changes}


FORGERIES: dict[str, Any] = {
    "another type": lambda i: i.sign(signed(i), "at+jwt"),
    "no type": lambda i: i.sign(signed(i), None),
    "critical": lambda i: i.sign(signed(i), "statuslist+jwt", crit=["x"]),
    "another algorithm": lambda i: i.sign(signed(i), "statuslist+jwt", alg="RS256"),
    "no key": lambda i: i.sign(signed(i), "statuslist+jwt", kid=None),
    "unknown key": lambda i: i.sign(signed(i), "statuslist+jwt", kid="invented"),
    "bad signature": lambda i: i.sign(signed(i), "statuslist+jwt")[:-8] + "AAAAAAAA",
    "short signature": lambda i: i.sign(signed(i), "statuslist+jwt").rpartition(".")[0] + ".AAAA",
    "no jwt": lambda i: "x.y",
    "four parts": lambda i: i.sign(signed(i), "statuslist+jwt") + ".AAAA",
    "another list": lambda i: i.sign(signed(i, sub=URI + "1"), "statuslist+jwt"),
    "another issuer": lambda i: i.sign(signed(i, iss="https://x.test"), "statuslist+jwt"),
    "expired": lambda i: i.sign(signed(i, exp=1), "statuslist+jwt"),
    "no iat": lambda i: i.sign(signed(i, iat=None), "statuslist+jwt"),
    "ttl in words": lambda i: i.sign(signed(i, ttl="long"), "statuslist+jwt"),
    "no list": lambda i: i.sign(signed(i, status_list=None), "statuslist+jwt"),
    "three bits": lambda i: i.sign(signed(i, status_list={"bits": 3, "lst": ""}), "statuslist+jwt"),
    "true bits": lambda i: i.sign(
        signed(i, status_list={"bits": True, "lst": ""}), "statuslist+jwt"
    ),
    "not packed": lambda i: i.sign(
        signed(i, status_list={"bits": 1, "lst": "AAAA"}), "statuslist+jwt"
    ),
    "cut off": lambda i: i.sign(
        signed(i, status_list={"bits": 1, "lst": lst(zlib.compress(b"x" * 999)[:-3])}),
        "statuslist+jwt",
    ),
    "a bomb": lambda i: i.sign(
        signed(i, status_list={"bits": 1, "lst": lst(zlib.compress(bytes(1 << 25), 9))}),
        "statuslist+jwt",
    ),
}


def lst(octets: bytes) -> str:
    return b64url_encode(octets).decode()


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_list_that_is_not_the_issuers_own_says_nothing(forgery: str) -> None:
    issuer = an_issuer()
    text = FORGERIES[forgery](issuer)

    def instead(request: object) -> httpx.Response:
        return httpx.Response(200, text=text)

    issuer.transport._status_list = instead  # type: ignore[method-assign]
    async with a_verifier(issuer) as verifier:
        token = issuer.token()
        with pytest.raises(StaleKnowledge):
            await verifier.verify(token)
        assert fetched(issuer) == 1
        with pytest.raises(StaleKnowledge):  # nor is it asked for again at once
            await verifier.verify(token)
        assert fetched(issuer) == 1


async def test_the_claims_of_a_list_are_read_by_the_draft() -> None:
    issuer = an_issuer()
    claims = signed(issuer, iss=issuer.url, exp=None, ttl=7)
    del claims["exp"]
    got = read(claims, URI, issuer.url, issuer.clock.now())
    assert (len(got.octets), got.bits, got.ttl, got.expires_at) == (512, 1, 7.0, None)


async def test_an_unchanged_list_is_not_sent_again() -> None:
    issuer = an_issuer()
    async with a_verifier(issuer) as verifier:
        token = issuer.token()
        assert await verifier.verify(token)
        held = next(iter(verifier.source._held.values()))  # type: ignore[attr-defined]
        content = held.content
        issuer.clock.tick(14)
        await until(lambda: fetched(issuer) == 2)
        await turns()
        assert held.content is content
        assert verifier.staleness == 0


def test_lists_are_packed_as_zlib_and_base64url() -> None:
    content = an_issuer().ledger.status_list()
    assert zlib.decompress(b64url_decode(content["lst"].encode())) == bytes(512)
