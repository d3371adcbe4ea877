import hashlib
import random
import re
import string
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.authentication.passwords import common
from identity.authentication.passwords.policy import check
from identity.authentication.passwords.preparing import MAX_CHARACTERS, prepare
from identity.errors import ValidationFailed

DATA = Path(common.__file__).with_name("common.bin")


def refusal(password: str, username: str | None = "ada", email: str | None = None) -> str:
    with pytest.raises(ValidationFailed) as refused:
        check(password, username=username, email=email, pointer="/new_password")
    ((pointer, words),) = refused.value.errors
    assert pointer == "/new_password"
    return words


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "pässwörter sind gut",
        "".join(map(chr, range(0x4E00, 0x4E00 + 2048, 2))),
        "日本語のパスワード",
        "🐴🔋📎🐎🐴🔋📎🐎",
    ],
)
def test_good_passwords_pass(password: str) -> None:
    check(password, username="ada", email="ada@example.com")
    check(password, username=None)


@pytest.mark.parametrize("password", ["", "short", "1234567", "e\u0301" * 7])
def test_fewer_than_eight_characters_are_refused(password: str) -> None:
    assert "at least 8" in refusal(password)


@pytest.mark.parametrize("password", ["ab" * 513, "x1" * 5_000, "\ufb2c" * 1024])
def test_more_than_1024_characters_are_refused(password: str) -> None:
    assert "longer than 1024" in refusal(password)


def test_marks_heaped_on_a_letter_are_refused_before_they_cost_anything() -> None:
    """To put n of them in order takes n² steps."""
    assert "combining marks" in refusal("correct horse" + "\u0301\u0316" * 2000)
    assert "combining marks" in refusal("correct horse" + "\u0316" * 31)
    check("correct horse" + "\u0316" * 30, username=None)
    # Taken apart this one becomes a letter and two marks.
    assert "combining marks" in refusal("correct horse \ufb2c" + "\u0316" * 30)


def test_nul_and_lone_surrogates_are_refused() -> None:
    assert "NUL" in refusal("correct\x00horse")
    assert "Unicode" in refusal("correct\udc80horse")


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord1", "qwertyuiop", "1q2w3e4r5t", "ILOVEYOU", "administrator", "zzzzzzzz"],
)
def test_common_passwords_are_refused_in_any_case(password: str) -> None:
    assert "most common" in refusal(password)


def test_the_username_and_the_address_are_refused_in_any_case() -> None:
    assert "username" in refusal("Ada.Lovelace", username="ada.lovelace")
    assert "username" in refusal("ada@Example.com", email="ada@example.com")
    assert "username" in refusal("lovelace.ada", email="Lovelace.Ada@example.com")
    assert "username" in refusal("Ada.Lovelace2026!", username="ada.lovelace")
    assert "username" in refusal("4d4.l0v3l4ce", username="ada.lovelace")


@pytest.mark.parametrize(
    "password",
    [
        "Summer2026!",
        "!!summer!!",
        "dr4g0n#7777",
        "L3tm31n2024",
        "summersummer",
        "20october26",
        "wINTER!!!1",
    ],
)
def test_a_common_word_is_refused_whatever_was_put_around_it_or_in_place_of_its_letters(
    password: str,
) -> None:
    assert "common word" in refusal(password)


@pytest.mark.parametrize(
    "password",
    [
        "admin12345",
        "identity1",
        "Identity-Service",
        "4dm1n!!!",
        "changeme2026",
        "oauth2token",
        "user-1-secret",
    ],
)
def test_the_services_own_words_are_refused(password: str) -> None:
    assert "words of this service" in refusal(password)


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaab",
        "87654321!",
        "x1x1x1x1x1",
        "11223344556677",
        "kjhgfdsa0987",
        "zzzzyyyyxxxx",
        "abcabcabc1",
        "!!hamhamham2026",
        "7xyzxyzxyz!",
    ],
)
def test_repeats_and_sequences_are_refused(password: str) -> None:
    assert "repeats or counts" in refusal(password)


@pytest.mark.parametrize("password", ["abc48273645", "ham-83910275-ham", "user8274619274token"])
def test_digits_that_are_more_than_an_ornament_are_none(password: str) -> None:
    check(password, username="ada", email=None)


@given(st.integers())
def test_long_random_words_and_tokens_pass(seed: int) -> None:
    source = random.Random(seed)
    words = ["".join(source.choices(string.ascii_letters, k=source.randint(4, 9))) for _ in "123"]
    check(" ".join(words), username="ada", email="ada@example.com")
    check("-".join(words) + "2026!", username="ada")
    check("".join(source.choices(string.ascii_letters + string.digits, k=16)), username=None)


@pytest.mark.parametrize("password", ["changeme" * 127 + "x", "(" * 1023 + "é", "ab" * 511 + "é"])
def test_no_password_takes_long_to_judge(password: str) -> None:
    began = time.thread_time()
    with suppress(ValidationFailed):
        check(password, username="ada")
    assert time.thread_time() - began < 0.1


@given(st.text(max_size=1300))
def test_preparing_twice_changes_nothing_more(password: str) -> None:
    try:
        prepared = prepare(password)
    except ValueError:
        return
    assert len(prepared) <= MAX_CHARACTERS
    assert prepare(prepared) == prepared
    assert prepared == unicodedata.normalize("NFC", prepared)
    prepared.encode()


def test_prepare_maps_spaces_and_composes_but_keeps_case_and_width() -> None:
    assert prepare("e\u0301\u00a0\u3000Ａb\t") == "é  Ａb\t"


def test_the_list_is_what_its_notice_says() -> None:
    packed, notice = DATA.read_bytes(), DATA.with_suffix(".txt").read_text()
    records = [packed[i : i + common.WIDTH] for i in range(0, len(packed), common.WIDTH)]
    assert records == sorted(set(records))
    assert re.search(r"Entries +(\d+)", notice)[1] == str(len(records))  # type: ignore[index]
    assert hashlib.sha256(packed).hexdigest() in notice
    assert "BSD" in notice
    assert "MIT License" in notice


def test_random_passwords_are_not_mistaken_for_common_ones() -> None:
    source = random.Random(8265)
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    tries = 100_000
    mistaken = sum(common.is_common("".join(source.choices(alphabet, k=12))) for _ in range(tries))
    assert mistaken == 0  # expected: 3.5e-8 of them
