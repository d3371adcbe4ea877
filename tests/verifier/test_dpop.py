"""Siblings and tokens that are bound to a key (RFC 9449): which proofs they take, how often, and
with which nonces."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from identity.verifier import (
    Bound,
    BoundToCertificate,
    DPoP,
    Expired,
    InsufficientScope,
    InvalidProof,
    IssuerUnavailable,
    NonceNeeded,
    Revoked,
)
from identity.verifier import dpop as proving
from identity.verifier.gate.proofs import WINDOW
from identity.verifier.nonces import LIFE, Nonces
from identity.verifier.testing import Issuer
from identity.verifier.testing.proofs import ProofKey

URL = "https://api.test/orders"


@pytest.fixture
def key(issuer: Issuer) -> ProofKey:
    return issuer.proof_key()


def presented(key: ProofKey, token: str, **claims: Any) -> DPoP:
    return DPoP(key.proof("GET", URL, token, **claims), "GET", URL)


async def test_a_bound_token_is_good_with_its_proof_once(issuer: Issuer, key: ProofKey) -> None:
    token = issuer.token(scope="orders:read", key=key)
    async with issuer.verifier() as verifier:
        proof = presented(key, token)
        verified = await verifier.verify(token, "orders:read", dpop=proof)
        assert verified.confirmation == {"jkt": key.jkt}
        with pytest.raises(InvalidProof, match="before"):
            await verifier.verify(token, dpop=proof)
        assert verifier.check(token, dpop=presented(key, token))
        for claims in ({"htm": "POST"}, {"htu": f"{URL}/1"}, {"ath": None}, {"iat": 1}):
            with pytest.raises(InvalidProof):
                await verifier.verify(token, dpop=presented(key, token, **claims))


async def test_a_bound_token_is_no_bearer_token_and_no_other_keys(
    issuer: Issuer, key: ProofKey
) -> None:
    token, unbound = issuer.token(key=key), issuer.token()
    async with issuer.verifier() as verifier:
        for _ in range(2):  # the second time from memory
            with pytest.raises(Bound):
                await verifier.verify(token)
            with pytest.raises(Bound):
                verifier.check(token.encode())
            with pytest.raises(Bound):
                await verifier.verify(token, dpop=presented(issuer.proof_key(), token))
            with pytest.raises(Bound):
                await verifier.verify(unbound, dpop=presented(key, unbound))
        assert (await verifier.verify(unbound)).confirmation is None


@pytest.mark.parametrize(
    "cnf",
    [{"x5t#S256": "A" * 43}, {"jkt": "A" * 43, "x5t#S256": "A" * 43}, {"jkt": "A" * 43}],
    ids=str,
)
async def test_what_is_bound_by_more_than_a_proof_shows_is_refused(
    issuer: Issuer, key: ProofKey, cnf: dict[str, str]
) -> None:
    if "jkt" in cnf and "x5t#S256" in cnf:
        cnf = cnf | {"jkt": key.jkt}
    token = issuer.token(cnf=cnf)
    async with issuer.verifier() as verifier:
        with pytest.raises((Bound, BoundToCertificate)):
            await verifier.verify(token)
        with pytest.raises((Bound, BoundToCertificate)):
            await verifier.verify(token, dpop=presented(key, token))


async def test_everything_else_about_the_token_counts_as_before(
    issuer: Issuer, key: ProofKey
) -> None:
    async with issuer.verifier() as verifier:
        for error, token in (
            (InsufficientScope, issuer.token(key=key)),
            (Expired, issuer.token(expires_in=-1, key=key)),
        ):
            proof = presented(key, token)
            for _ in range(2):  # a refusal does not use the proof up
                with pytest.raises(error):
                    await verifier.verify(token, "orders:read", dpop=proof)
        token = issuer.token(key=key)
        issuer.revoke(token)
        with pytest.raises(Revoked):
            await verifier.verify(token, dpop=presented(key, token))


@pytest.mark.parametrize("mode", ["introspection", "status-list", "stream"])
async def test_it_holds_however_revocations_are_known(
    issuer: Issuer, key: ProofKey, mode: Any
) -> None:
    async with issuer.verifier(revocations=mode) as verifier:
        for _ in range(2):
            token = issuer.token(key=key)
            assert await verifier.verify(token, dpop=presented(key, token))
            with pytest.raises(Bound):
                await verifier.verify(token)


async def test_proofs_are_forgotten_when_their_time_is_over(issuer: Issuer, key: ProofKey) -> None:
    token = issuer.token(key=key)
    async with issuer.verifier() as verifier:
        early = presented(key, token, iat=issuer.clock.now() + WINDOW)
        await verifier.verify(token, dpop=early)
        for _ in range(3):
            issuer.clock.tick(WINDOW / 2 + 5)
            await verifier.verify(token, dpop=presented(key, token))
            with pytest.raises(InvalidProof, match="before"):
                await verifier.verify(token, dpop=early)
        for _ in range(3):
            issuer.clock.tick(2 * WINDOW + 1)
            await verifier.verify(token, dpop=presented(key, token))
        assert len(verifier.proving._newer) + len(verifier.proving._older) <= 2


async def test_more_proofs_than_can_be_remembered_are_told_to_come_later(
    issuer: Issuer, key: ProofKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "MOST", 3)
    token = issuer.token(key=key)
    async with issuer.verifier() as verifier:
        for _ in range(3):
            await verifier.verify(token, dpop=presented(key, token))
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(token, dpop=presented(key, token))
        issuer.clock.tick(2 * WINDOW + 1)
        with pytest.raises(IssuerUnavailable):  # the last of them has not been let go
            await verifier.verify(token, dpop=presented(key, token))
        issuer.clock.tick(4 * WINDOW + 1)
        await verifier.verify(token, dpop=presented(key, token))


def test_of_many_threads_one_uses_a_proof(issuer: Issuer, key: ProofKey) -> None:
    token = issuer.token(key=key)
    with issuer.sync_verifier() as verifier, ThreadPoolExecutor(8) as threads:

        def use(proof: DPoP) -> bool:
            try:
                return verifier.verify(token, dpop=proof) is not None
            except InvalidProof:
                return False

        for _ in range(5):
            assert sum(threads.map(use, [presented(key, token)] * 16)) == 1
        with pytest.raises(Bound):
            verifier.verify(token)


# --- Nonces -----------------------------------------------------------------------------------

SECRET = b"a secret of all replicas, 32 octets"


async def test_with_nonce_keys_every_proof_needs_a_nonce_of_any_replica(
    issuer: Issuer, key: ProofKey
) -> None:
    token = issuer.token(key=key)
    old = b"the one before, which some still have"
    async with (
        issuer.verifier(nonce_keys=[SECRET]) as one,
        issuer.verifier(nonce_keys=[old, SECRET]) as two,
    ):
        with pytest.raises(NonceNeeded) as needed:
            await one.verify(token, dpop=presented(key, token))
        nonce = needed.value.nonce
        for verifier in (one, two):
            assert await verifier.verify(token, dpop=presented(key, token, nonce=nonce))
        with pytest.raises(NonceNeeded) as needed:
            await one.verify(token, dpop=presented(key, token, nonce=Nonces([old]).new()))
        issuer.clock.tick(LIFE + 1)
        with pytest.raises(NonceNeeded):
            await one.verify(token, dpop=presented(key, token, nonce=nonce))


def test_nonces_need_a_secret_worth_the_name() -> None:
    for keys in ([], [b"short"], [SECRET, b""]):
        with pytest.raises(ValueError, match="32 octets"):
            Nonces(keys)


def test_a_nonce_from_a_clock_far_ahead_is_none() -> None:
    ahead, ours = Nonces([SECRET], lambda: 1_000_031.0), Nonces([SECRET], lambda: 1_000_000.0)
    assert not ours.knows(ahead.new())
    assert ours.knows(Nonces([SECRET], lambda: 1_000_030.0).new())
