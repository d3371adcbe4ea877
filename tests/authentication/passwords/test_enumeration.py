"""What a refusal costs says nothing about the account: neither that it exists, nor its hash."""

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence

import argon2
import pytest

from identity.authentication.passwords import hashing
from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.hashes.schemes import recognise, specimen
from tests.directory.hashes.test_foreign_hashes import FOREIGN

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
PREPARED = "battery\u00a0staple"  # changes when it is prepared, so that others compare it twice

STORED = {
    "sha512_crypt": "$6$rounds=1000$saltSALT$44QU.aFFNKLhQZporvZ3w3B4hUwiNda/F4VzcpBH9dIxl2S03qqUj"
    "DUUMtbzFCoJGyQUWbsM7QH6BN5Tbt5uT1",
    "argon2": argon2.PasswordHasher(1, 64, parallelism=1).hash("correct horse"),
    "salted": "{SSHA}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA==",
    "pbkdf2": "pbkdf2_sha256$1000$saltSALT$h9xM8drpPLiri5vPfqZnKWIna76lKr5TsBXpFbSAcgo=",
    "dearer": PasswordHasher(rounds=6).hash("correct horse"),
}
KINDS = tuple(kind for encoded in STORED.values() if (kind := specimen(encoded)))


@pytest.mark.parametrize("encoded", [encoded for _, encoded in FOREIGN])
def test_a_specimen_costs_what_its_kind_costs_and_holds_nothing_of_the_hash(encoded: str) -> None:
    kind = specimen(encoded)
    assert kind is not None
    original, known = recognise(encoded), recognise(kind)
    assert original is not None
    assert known is not None
    assert known.scheme is original.scheme
    assert specimen(kind) == kind
    digest = original.found.string.rstrip("=")[-12:]
    assert digest not in kind
    hasher = PasswordHasher(rounds=4)
    assert not hasher.verify("correct horse", kind).ok
    assert hasher._usual(kind, "x", "x") > 0  # something was compared, nothing raised


def costs(hasher: PasswordHasher, password: str, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of refusals, by whom they were for; samples in turn, in any order."""
    ways: dict[str, Callable[[], object]] = {
        name: lambda encoded=encoded: hasher.verify(password, encoded, KINDS)  # type: ignore[misc]
        for name, encoded in {**STORED, "today": hasher.hash("correct horse")}.items()
    }
    ways["unknown"] = lambda: hasher.dummy(password, KINDS)
    ways["damaged"] = lambda: hasher.verify(password, "damaged", KINDS)
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in random.sample(sorted(ways), len(ways)):
            started = time.process_time()  # argon2 works in threads of its own
            ways[name]()
            taken[name].append(time.process_time() - started)
    return taken


def auc(one: Sequence[float], other: Sequence[float]) -> float:
    """How often a sample of one is larger than one of the other: 0.5 says nothing."""
    ordered = sorted(
        (value, which) for which, values in enumerate((one, other)) for value in values
    )
    below, wins = 0, 0
    for _, which in ordered:
        below += which == 1
        wins += below * (which == 0)
    return max(share := wins / (len(one) * len(other)), 1 - share)


@pytest.mark.parametrize("password", ["battery staple", PREPARED, "x" * 1000])
def test_refusals_take_the_same_whoever_they_are_for(password: str) -> None:
    taken = costs(PasswordHasher(rounds=5), password, 11)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    assert max(medians.values()) < 1.25 * min(medians.values()), medians


@pytest.mark.fuzz
@pytest.mark.parametrize("password", ["battery staple", PREPARED])
def test_nobody_can_tell_refusals_apart(password: str) -> None:
    pairs, most = (2_000, 0.55) if LONG else (25, 0.9)
    taken = costs(PasswordHasher(rounds=5), password, pairs)
    unknown = taken.pop("unknown")
    told = {name: auc(values, unknown) for name, values in taken.items()}
    assert max(told.values()) <= most, told


def test_what_a_refusal_costs_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "DEAREST", 0.003)
    hasher = PasswordHasher(rounds=4)
    dear = specimen(PasswordHasher(rounds=9).hash("correct horse"))  # 25 ms
    assert dear is not None
    hasher.dummy("battery staple", [dear])
    started = time.thread_time()
    hasher.dummy("battery staple", [dear])
    assert time.thread_time() - started < 0.02


def test_hashes_of_today_alone_cost_one_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHasher(rounds=4)
    spent: list[float] = []
    monkeypatch.setattr(hashing, "_spend", spent.append)
    hasher.verify("battery staple", hasher.hash("correct horse"), [hasher.kind])
    hasher.dummy("battery staple", [hasher.kind])
    assert max(spent) <= 0
