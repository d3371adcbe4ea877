import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.authentication.passwords.hashing import PasswordHasher

HASHER = PasswordHasher(rounds=4)
ENCODED = HASHER.hash("correct horse")
ANY_TEXT = st.text(st.characters(), max_size=80)  # with surrogates and NUL


def test_a_new_hash_verifies_and_needs_no_rehash() -> None:
    assert ENCODED.startswith("$bcrypt-sha256$v=2,t=2b,r=4$")
    assert HASHER.identify(ENCODED) == "bcrypt_sha256"
    verdict = HASHER.verify("correct horse", ENCODED)
    assert (verdict.ok, verdict.rehash) == (True, False)


def test_two_hashes_of_one_password_differ() -> None:
    assert HASHER.hash("correct horse") != ENCODED


@pytest.mark.parametrize("rounds", [5, 6])
def test_a_hash_of_another_cost_is_due_for_a_rehash(rounds: int) -> None:
    verdict = PasswordHasher(rounds).verify("correct horse", ENCODED)
    assert (verdict.ok, verdict.rehash) == (True, True)
    wrong = PasswordHasher(rounds).verify("battery staple", ENCODED)
    assert (wrong.ok, wrong.rehash) == (False, False)


def test_the_whole_of_a_long_password_counts() -> None:
    encoded = HASHER.hash("x" * 1024)
    assert HASHER.verify("x" * 1024, encoded).ok
    assert not HASHER.verify("x" * 1023, encoded).ok


def test_two_spellings_of_one_text_are_one_password() -> None:
    encoded = HASHER.hash("caf\u00e9 au lait")
    assert HASHER.verify("cafe\u0301\u00a0au lait", encoded).ok


@pytest.mark.parametrize("password", ["x" * 10_000, "nul\x00byte", "lone \ud800 surrogate"])
def test_what_is_no_password_never_verifies_and_cannot_be_hashed(password: str) -> None:
    assert not HASHER.verify(password, ENCODED).ok
    HASHER.dummy(password)
    with pytest.raises(ValueError, match="password") as refusal:
        HASHER.hash(password)
    assert password not in str(refusal.value)


@settings(deadline=None, max_examples=60)
@given(password=ANY_TEXT, encoded=ANY_TEXT)
def test_no_text_on_either_side_makes_verify_raise(password: str, encoded: str) -> None:
    assert not HASHER.verify(password, encoded).ok
    assert not HASHER.verify(password, ENCODED).ok
    assert HASHER.identify(encoded) is None
    HASHER.dummy(password)


@settings(deadline=None, max_examples=60)
@given(
    start=st.sampled_from(["$bcrypt-sha256$", "$2b$04$", "$argon2id$", "pbkdf2_sha256$", "{SSHA}"]),
    rest=st.text("$,=./+0123456789abvmtpr", max_size=90),
)
def test_no_stored_garbage_makes_verify_raise(start: str, rest: str) -> None:
    assert not HASHER.verify("correct horse", start + rest).ok
    HASHER.identify(start + rest)


def test_threads_that_hash_their_first_password_at_once_agree() -> None:
    fresh = PasswordHasher(rounds=4)
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda _: fresh.verify("correct horse", ENCODED), range(16)))
    assert all(verdict.ok for verdict in verdicts)


def _medians(rounds: int, **ways: Callable[[], object]) -> dict[str, float]:
    """CPU time of each way, samples taken in turn so that drift hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.thread_time()
            way()
            taken[name].append(time.thread_time() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def test_unknown_users_and_wrong_passwords_take_the_same_time() -> None:
    hasher = PasswordHasher(rounds=6)
    current, older = hasher.hash("correct horse"), PasswordHasher(rounds=4).hash("correct horse")
    salted = "{SSHA}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA=="
    medians = _medians(
        25,
        wrong=lambda: hasher.verify("battery staple", current),
        unknown=lambda: hasher.dummy("battery staple"),
        older=lambda: hasher.verify("battery staple", older),
        imported=lambda: hasher.verify("battery staple", salted),
        damaged=lambda: hasher.verify("battery staple", "damaged"),
        long=lambda: hasher.verify("x" * 1024, current),
    )
    assert max(medians.values()) < 1.5 * min(medians.values()), medians
    assert medians["unknown"] == pytest.approx(medians["wrong"], rel=0.25), medians


def test_importing_the_hasher_leaves_passlib_for_later() -> None:
    script = (
        "import sys; from identity.authentication.passwords.hashing import PasswordHasher;"
        "PasswordHasher(12);"
        "import identity.authentication.passwords.policy, identity.authentication.passwords.pool;"
        "print([m for m in sys.modules if m.split('.')[0] in ('passlib', 'bcrypt', 'argon2')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
