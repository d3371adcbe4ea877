"""Passwords that are guessed early, whatever was put around or in place of their letters.

Programs that guess take the common words, then write them with capitals, digits and signs behind
and before them, and look-alikes for letters, as people do who are asked for all of these
(NIST SP 800-63B §3.1.1.2 lets a list hold what is derived from the name of the service). So the
same is undone here, and what is left is looked for.
"""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise

from identity.authentication.passwords.common import SHORTEST, is_common

FEWEST_TURNS = 4
"""Pieces, of equal characters or neighbours in the alphabet, among the digits or on a keyboard."""

COMMON = "The password is among the most common ones; choose another."
DERIVED = (
    "The password is a common word with digits, signs or look-alikes of letters; choose another, "
    "for instance some words that have nothing to do with each other."
)
OWN = "The password is made of words of this service; choose another."
NAMED = "The password must not be the username or the e-mail address, whatever is added to it."
REGULAR = "The password repeats or counts up what it is made of; choose another."

_WORDS = (
    "identity", "identities", "admin", "administrator", "administration", "authentication",
    "authorization", "oauth", "openid", "token", "tokens", "login", "logon", "signin", "account",
    "user", "username", "root", "system", "server", "service", "client", "secret", "passwd",
    "password", "passwort", "passphrase", "pass", "default", "initial", "changeme", "change", "me",
    "welcome", "temp", "temporary", "test", "demo", "guest",
)  # fmt: skip
_CALENDAR = (
    "january", "february", "march", "april", "june", "july", "august", "september", "october",
    "november", "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
    "sunday", "spring", "summer", "autumn", "winter",
)  # fmt: skip
# Possessive, longest first: to try all ways to cut a password into words could take for ever.
_BETWEEN = r"[\W_]*+(?:\d{1,4}+[\W_]*+)?+"  # as in "oauth2"; more digits may be what is secret
_OWN = rf"(?:(?>{'|'.join(sorted(_WORDS, key=len, reverse=True))}){_BETWEEN})++"
_OTHERS = r"[\W\d_]+"  # no letters of any script
_BEHIND, _AROUND = rf"{_OTHERS}\Z", rf"\A{_OTHERS}|{_OTHERS}\Z"
_REPEATED = r"(?s)(.+?)\1+"
_LOOK_ALIKES = [str.maketrans("0123456789@$!|+(", f"o{one}zeasgtbgasiltc") for one in ("i", "l")]
_ROWS = ("qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "90")
_NEIGHBOURS = frozenset(frozenset(pair) for row in _ROWS for pair in pairwise(row))


def objection(password: str, names: Collection[str]) -> str | None:
    """Why `password` (prepared) is easy to guess; None if nothing is known against it. `names`: the
    user's own, caseless."""
    caseless = password.casefold()
    if is_common(caseless):
        return COMMON
    for word in _undone(caseless):
        if word in names:
            return NAMED
        if re.fullmatch(_OWN, word):
            return OWN
        if word in _CALENDAR or (len(word) >= SHORTEST and is_common(word)):
            return DERIVED
    # What was put around it may be the better half, and then is no ornament.
    if any(
        len(bare) > len(caseless) / 2 and _turns(_unit(bare)) < FEWEST_TURNS
        for bare in _bare(caseless)
    ):
        return REGULAR
    return None


def _bare(caseless: str) -> Iterator[str]:
    """The password, and without what stands behind its letters, and around them."""
    yield from dict.fromkeys(
        (caseless, re.sub(_BEHIND, "", caseless), re.sub(_AROUND, "", caseless))
    )


def _undone(caseless: str) -> Iterator[str]:
    """What the password may have been made of."""
    for bare in _bare(caseless):
        for spelling in dict.fromkeys((bare, *(bare.translate(table) for table in _LOOK_ALIKES))):
            yield spelling
            yield re.sub(_AROUND, "", spelling)
            yield _unit(spelling)


def _unit(text: str) -> str:
    """What `text` repeats; itself if it does not."""
    repeated = re.fullmatch(_REPEATED, text)
    return repeated[1] if repeated else text


def _turns(text: str) -> int:
    """How many pieces of one character, or of neighbours, `text` consists of."""
    return 1 + sum(
        abs(ord(one) - ord(next_)) > 1 and frozenset((one, next_)) not in _NEIGHBOURS
        for one, next_ in pairwise(text)
    )
