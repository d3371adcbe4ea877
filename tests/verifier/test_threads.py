"""Many threads verify while revocations arrive: none is missed, none takes a lock."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from identity.verifier import Revoked, SyncVerifier, UnknownKey
from identity.verifier.testing import Issuer


@pytest.mark.parametrize("mode", ["stream", "status-list", "introspection"])
def test_threads_hammer_while_revocations_arrive(issuer: Issuer, mode: str) -> None:
    tokens = [issuer.token() for _ in range(150)]
    dead: set[str] = set()
    stop = Event()
    with issuer.sync_verifier(revocations=mode, cache_size=100, introspection_ttl=0) as verifier:

        def hammer(seed: int) -> int:
            dice, checked = random.Random(seed), 0
            while not stop.is_set() or checked < 100:
                token = dice.choice(tokens)
                was_dead = token in dead
                try:
                    verifier.verify(token)
                except Revoked:
                    pass
                else:
                    assert not was_dead, "accepted after it was known to be revoked"
                checked += 1
            return checked

        with ThreadPoolExecutor(8) as pool:
            hammering = [pool.submit(hammer, seed) for seed in range(8)]
            for token in tokens[:75]:
                issuer.revoke(token)
                dead.add(token)
                time.sleep(0.001)
            stop.set()
            assert all(done.result(30) >= 100 for done in hammering)
        for token in tokens[75:]:
            assert verifier.verify(token)


def test_a_key_that_nobody_knew_is_fetched_once_for_all_threads(issuer: Issuer) -> None:
    with issuer.sync_verifier() as verifier:
        issuer.rotate()
        tokens = [issuer.token() for _ in range(32)]
        with ThreadPoolExecutor(16) as pool:
            assert len(list(pool.map(verifier.verify, tokens))) == 32
            with pytest.raises(UnknownKey):
                verifier.verify(issuer.sign({}, kid="invented"))
        assert issuer.transport.requests["/.well-known/jwks.json"] == 2


def test_it_starts_with_the_first_token_and_ends_when_closed(issuer: Issuer) -> None:
    verifier = issuer.sync_verifier()
    token = issuer.token()
    assert verifier.verify(token).subject == "alice"
    assert verifier.check(token) is not None
    assert verifier.staleness == 0
    thread = verifier._thread
    verifier.close()
    verifier.close()
    assert thread is not None
    assert not thread.is_alive()
    assert verifier.verify(token)
    verifier.close()


def test_what_makes_no_sense_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="audience"):
        SyncVerifier("https://identity.example", "")


def test_what_another_told_is_in_force_in_every_thread(issuer: Issuer) -> None:
    issuer.prompt = False
    with issuer.sync_verifier(client_id=None, revocations=None) as verifier:
        token = issuer.token()
        assert verifier.verify(token)
        issuer.revoke(token)
        verifier.learn(issuer.ledger.entries[0])
        with pytest.raises(Revoked):
            verifier.verify(token)
