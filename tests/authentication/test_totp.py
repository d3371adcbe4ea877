"""Codes by the clock, held against RFC 6238 and against another library."""

from base64 import b32decode, b32encode

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st

from identity.authentication import recovery, totp

RFC_6238 = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
"""Appendix B for SHA-1: eight digits, of which six-digit codes are the last."""
SECRET = b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(("at", "code"), RFC_6238.items())
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    assert totp.step_of(SECRET, code[2:], at) == at // 30
    assert totp.step_of(SECRET, code, at) is None


@given(st.binary(min_size=20, max_size=20), st.integers(30, 2**40), st.integers(-3, 3))
def test_a_step_before_and_a_step_after_are_taken_and_no_others(
    key: bytes, at: int, steps: int
) -> None:
    app = TOTP(key, 6, SHA1(), 30, enforce_key_length=False)
    shown = {
        near: app.generate(at + near * 30).decode() for near in range(-3, 4) if at + near * 30 >= 0
    }
    if steps not in shown:
        return
    found = totp.step_of(b32encode(key).decode(), shown[steps], at)
    taken = [at // 30 + near for near in (-1, 0, 1) if shown.get(near) == shown[steps]]
    assert (found in taken) if taken else found is None


@given(st.text("0123456789 ٣²a\0\ud800", max_size=8))
def test_what_is_no_code_is_wrong_and_no_error(text: str) -> None:
    step = totp.step_of(SECRET, text, 59)
    assert step is None or text in {"755224", "287082", "359152"}


def test_recovery_codes_have_112_bits_and_are_read_however_they_are_typed() -> None:
    codes = [recovery._mint() for _ in range(50)]
    assert len({*codes}) == 50
    for code in codes:
        plain = recovery.plain(code)
        assert len(b32decode(plain.upper() + "=")) == 14
        assert recovery.plain(f" {code.upper().replace('-', ' ').replace('O', '0')}\n") == plain
