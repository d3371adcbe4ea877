"""Codes that people type: whatever they put between the letters, and nothing that is none."""

import string

from hypothesis import given
from hypothesis import strategies as st

from identity.tokens.devices import user_codes

CODES = st.text(user_codes.CONSONANTS, min_size=8, max_size=8)
BETWEEN = st.text(" -_.·–—/\t\u00a0\u2007", max_size=2)
WIDE = {ord(letter): ord(letter) + 0xFEE0 for letter in string.ascii_letters}


def test_a_new_one_is_of_eight_consonants() -> None:
    made = {user_codes.make() for _ in range(200)}
    assert len(made) == 200
    assert all(user_codes.parse(user_codes.shown(code)) == code for code in made)
    assert len(set(user_codes.CONSONANTS)) == 20 and not set("AEIOUY") & set(user_codes.CONSONANTS)


@given(CODES, st.lists(BETWEEN, min_size=9, max_size=9), st.data())
def test_it_is_read_however_it_is_typed(code: str, between: list[str], data: st.DataObject) -> None:
    letters = [data.draw(st.sampled_from([c, c.lower(), c.translate(WIDE)])) for c in code]
    typed = "".join(sign + letter for sign, letter in zip(between, [*letters, ""], strict=True))
    assert user_codes.parse(typed) == code


@given(st.text())
def test_no_text_is_read_as_anything_but_a_code(typed: str) -> None:
    code = user_codes.parse(typed)
    assert code is None or (len(code) == 8 and set(code) <= set(user_codes.CONSONANTS))


@given(CODES, st.sampled_from([*"AEIOUY0123456789", "ß", "ſ", "\u212a"]), st.integers(0, 7))
def test_another_letter_makes_it_none(code: str, letter: str, place: int) -> None:
    read = user_codes.parse(code[:place] + letter + code[place + 1 :])
    # The Kelvin sign and the long s are letters of ours in another form.
    assert read is None or letter in {"ſ", "\u212a"}
    assert user_codes.parse(code + letter) is None
    assert user_codes.parse(code[:7]) is None
