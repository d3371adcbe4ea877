"""Who asks for tokens with wrong passwords cannot tell whether an account exists: not by the words,
not by the status, not by the time, whatever scheme its hash is of."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.users import accounts
from identity.opaque import new_id
from tests.authentication.passwords.test_enumeration import STORED, auc
from tests.faults.replicas import Answer, Line, Replicas
from tests.faults.stages import started
from tests.trials.row import Dice, Outcome, Place

PAIRS = 2_000
LIMIT = 0.55
"""How often, at most, the longer answer is of one and not of the other: 0.5 says nothing."""
OF_EACH = 20
"""Accounts with a hash of each scheme."""
VARYING = {"date", "x-request-id"}


@dataclass
class Guessing:
    replicas: Replicas
    line: Line
    names: dict[str, list[str]]
    """Of accounts, by the scheme of their hash."""


@contextmanager
def guessing(database: str, place: Place) -> Iterator[Guessing]:
    """Each request comes from an address of its own, by a proxy that is believed; no account is
    ever locked."""
    told = {"TRUSTED_PROXIES": "127.0.0.1", "LOGIN_MAX_FAILURES": "100000"}
    hashes = STORED | {"bcrypt_sha256": PasswordHasher(4).hash("correct horse")}
    with started(database, place, 1, **told) as replicas, replicas.lines() as (line,):
        names: dict[str, list[str]] = {}
        with replicas.db.transaction() as session:
            for scheme, encoded in hashes.items():
                names[scheme] = [f"{scheme[:4]}-{new_id()}" for _ in range(OF_EACH)]
                for name in names[scheme]:
                    accounts.create(session, username=name, password_hash=encoded)
        yield Guessing(replicas, line, names)


def told_apart(stage: Guessing, dice: Dice, pairs: int = PAIRS) -> Outcome:
    seen = Outcome()
    took: dict[str, list[float]] = {}
    said: dict[str, set[tuple[object, ...]]] = {}

    def guess(name: str) -> Answer:
        forwarded = ".".join(str(dice.randrange(1, 255)) for _ in range(4))
        form = {"grant_type": "password", "username": name, "password": "battery staple"}
        return stage.line.post_from(forwarded, "/token", **form)

    for _ in range(20):
        guess("nobody")
    schemes = sorted(stage.names)
    for number in range(pairs):
        scheme = schemes[number % len(schemes)]
        known, unknown = dice.choice(stage.names[scheme]), f"{scheme[:4]}-{new_id()}"
        tries = [(scheme, known), (f"none beside {scheme}", unknown)]
        dice.shuffle(tries)
        for kind, name in tries:
            began = time.perf_counter()
            answer = guess(name)
            took.setdefault(kind, []).append(time.perf_counter() - began)
            said.setdefault(kind.partition(" ")[0], set()).add(_told(answer))
    everything = set().union(*said.values())
    seen.see(len(everything) == 1, f"answers differ: {sorted(map(str, everything))[:3]}")
    worst = 0.0
    for scheme in schemes:
        value = auc(took[scheme], took[f"none beside {scheme}"])
        worst = max(worst, value)
        seen.strain(value <= LIMIT, f"{scheme}: AUC {value:.3f}")
    seen.measured["worst AUC of a scheme"] = worst
    return seen


def _told(answer: Answer) -> tuple[object, ...]:
    """All of an answer that could tell something."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    kept = sorted((name, value) for name, value in headers.items() if name not in VARYING)
    return answer.status, answer.body, tuple(kept)
