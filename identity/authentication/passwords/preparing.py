"""One spelling for a password, however a keyboard or an operating system spelt it."""

import re
import unicodedata

MAX_CHARACTERS = 1024
MAX_MARKS = 30
"""Combining marks in a row, more than any script needs (UAX #15, Stream-Safe Text): to order n of
them takes n² steps."""

_TOO_LONG = f"The password must not be longer than {MAX_CHARACTERS} characters."
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def prepare(password: str) -> str:
    """`password` as it is hashed: RFC 8265 §4.2.2, the enforcement rules of OpaqueString.

    Non-ASCII spaces become U+0020, then NFC; case and width stay. Of what the profile's string
    class forbids only NUL and lone surrogates are refused: which characters are assigned depends
    on the Unicode tables of the Python at hand, and a password must not stop working with an
    upgrade. Idempotent. Raises ValueError with a sentence fit for the user, which never quotes
    the password.
    """
    # NFC can only shorten by composing, never to less than a quarter of what anyone types.
    if len(password) > 4 * MAX_CHARACTERS:
        raise ValueError(_TOO_LONG)
    if "\x00" in password:
        raise ValueError("The password must not contain the NUL character.")
    if _SURROGATES.search(password):
        raise ValueError("The password is not valid Unicode text.")
    if password.isascii():
        prepared = password
    else:
        _check_marks(password)
        prepared = unicodedata.normalize("NFC", _SPACES.sub(" ", password))
        _check_marks(prepared)  # a few characters are taken apart
    if len(prepared) > MAX_CHARACTERS:
        raise ValueError(_TOO_LONG)
    return prepared


def _check_marks(text: str) -> None:
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > MAX_MARKS:
            raise ValueError(f"The password has more than {MAX_MARKS} combining marks in a row.")
