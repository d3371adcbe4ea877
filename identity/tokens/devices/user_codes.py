"""The code that a person reads from one screen and types at another (RFC 8628 §6.1): eight of
twenty consonants, so that no word comes up, 34 bits. What else is typed between them is passed
over."""

import re
import secrets
import unicodedata

CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
LENGTH = 8

_BETWEEN = re.compile(r"[\W_]+")
_CODE = re.compile(f"[{CONSONANTS}]{{{LENGTH}}}")


def make() -> str:
    return "".join(secrets.choice(CONSONANTS) for _ in range(LENGTH))


def parse(typed: str) -> str | None:
    """The code that somebody has typed, with whatever signs and in whatever letters of any size or
    width; None where it is none."""
    if len(typed) > 100:
        return None
    letters = _BETWEEN.sub("", unicodedata.normalize("NFKC", typed))
    code = letters.upper() if letters.isascii() else ""
    return code if _CODE.fullmatch(code) else None


def shown(code: str) -> str:
    half = LENGTH // 2
    return f"{code[:half]}-{code[half:]}"
