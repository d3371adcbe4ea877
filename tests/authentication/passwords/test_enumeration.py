"""What a refusal costs says nothing about the account: neither that it exists, nor its hash."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import argon2
import pytest

from identity.authentication.passwords import hashing
from identity.authentication.passwords.hashing import WRONG, PasswordHasher, Verdict
from identity.directory.hashes.recognising import Recognised, recognise, specimen
from tests.directory.hashes.test_foreign_hashes import FOREIGN
from tests.proofs import LONG, effort

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


Clock = Callable[[], float]


def costs(
    hasher: PasswordHasher, password: str, rounds: int, clock: Clock = time.process_time
) -> dict[str, list[float]]:
    """Seconds of refusals, by whom they were for; samples in turn, in any order. Of the whole
    process, for argon2 works in threads of its own."""
    ways: dict[str, Callable[[], object]] = {
        name: lambda encoded=encoded: hasher.verify(password, encoded, KINDS)  # type: ignore[misc]
        for name, encoded in {**STORED, "today": hasher.hash("correct horse")}.items()
    }
    ways["unknown"] = lambda: hasher.dummy(password, KINDS)
    ways["damaged"] = lambda: hasher.verify(password, "damaged", KINDS)
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    turn = random.Random(1)
    for _ in range(rounds):
        for name in turn.sample(sorted(ways), len(ways)):
            started = clock()
            ways[name]()
            taken[name].append(clock() - started)
    return taken


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Work counted instead of measured, which is the same on any machine: a comparison takes what
    its kind takes, give or take a twentieth (but argon2, whose threads wait for cores, which is no
    work), and whatever is spent on top a microsecond a step."""
    turn, done = random.Random(2), [0.0]
    prices = dict(zip(KINDS, (0.012, 0.002, 0.000_002, 0.000_5, 0.016), strict=True))

    def read() -> float:
        return done[0]

    def spend(_name: str, _password: bytes, _salt: bytes, steps: int) -> None:
        done[0] += steps / 1e6

    def loaded(_: PasswordHasher, known: Recognised) -> Callable[[str], Verdict]:
        price = prices.get(specimen(known.found.string) or "", 0.008)

        def compare(password: str) -> Verdict:
            done[0] += price * (1 if known.scheme.own_threads else turn.uniform(0.95, 1.05))
            return WRONG

        return compare

    monkeypatch.setattr(PasswordHasher, "_loaded", loaded)
    monkeypatch.setattr(hashing, "time", SimpleNamespace(thread_time=read, perf_counter=read))
    monkeypatch.setattr(hashing, "hashlib", SimpleNamespace(pbkdf2_hmac=spend))
    return read


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


def told_apart(taken: dict[str, list[float]]) -> dict[str, float]:
    """By whom: how well they are told from unknown users."""
    return {name: auc(values, taken["unknown"]) for name, values in taken.items()}


@pytest.mark.parametrize("password", ["battery staple", PREPARED, "x" * 1000])
def test_refusals_do_as_much_work_whoever_they_are_for(work: Clock, password: str) -> None:
    taken = costs(PasswordHasher(rounds=5), password, 150, work)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    assert max(medians.values()) < 1.02 * min(medians.values()), medians
    assert max(told_apart(taken).values()) < 0.6


@pytest.mark.parametrize("left_out", ["_spend", "_least", "MARGIN", "_spellings"])
def test_what_makes_refusals_alike_would_be_missed(
    work: Clock, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    """What the test above is worth."""
    match left_out:
        case "_spend":
            monkeypatch.setattr(hashing, "_spend", lambda _: None)
        case "_least":
            monkeypatch.setattr(PasswordHasher, "_least", lambda *_: 0.0)
        case "MARGIN":
            monkeypatch.setattr(hashing, "MARGIN", 1.0)
        case "_spellings":  # counted as one, compared as two
            usual = PasswordHasher._usual
            monkeypatch.setattr(
                PasswordHasher, "_usual", lambda self, kind, *_: usual(self, kind, "x", "x")
            )
    told = told_apart(costs(PasswordHasher(rounds=5), PREPARED, 150, work))
    assert max(told.values()) > 0.65, told


@pytest.mark.proof
@pytest.mark.parametrize("password", ["battery staple", PREPARED, "x" * 1000])
def test_refusals_take_the_same_time_on_this_machine(password: str) -> None:
    taken = costs(PasswordHasher(rounds=5), password, effort(11, 31))
    least = {name: min(values) for name, values in taken.items()}  # others take of the rest
    assert max(least.values()) < 1.25 * min(least.values()), least


@pytest.mark.fuzz
@pytest.mark.skipif(not LONG, reason="tells milliseconds apart: `make fuzz`, on a quiet machine")
@pytest.mark.parametrize("password", ["battery staple", PREPARED])
def test_nobody_can_tell_refusals_apart(password: str) -> None:
    told = told_apart(costs(PasswordHasher(rounds=5), password, 2_000))
    assert max(told.values()) <= 0.55, told


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
