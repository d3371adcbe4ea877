"""Which scheme a stored hash is of.

It is text from outside (an import, another system's table), so nothing in it is believed: only the
exact shape of a known scheme is recognised, and only at a bearable cost (`hashes.costs`).
"""

import re

from identity.dataclass import dataclass
from identity.directory.hashes.schemes import SCHEMES, Scheme

MAX_ENCODED = 1024
"""Characters of the longest stored hash that is looked at."""
_BEHIND = {
    "CRYPT": ("bcrypt", "sha256_crypt", "sha512_crypt", "md5_crypt", "yescrypt"),
    "BCRYPT": ("bcrypt",),
    "ARGON2": ("argon2",),
}
"""What may follow a prefix that is no part of the hash."""
_PREFIX = re.compile(r"\{([A-Za-z0-9-]{1,16})(?:@SpringSecurity_v5_8)?\}")


@dataclass(frozen=True, slots=True)
class Recognised:
    scheme: Scheme
    encoded: str
    """The text without the scheme's prefix."""
    found: re.Match[str]


def recognise(encoded: str) -> Recognised | None:
    """Which scheme `encoded` is, at a bearable cost; None for everything else."""
    known = shaped(encoded)
    return known if known is not None and fits(known) else None


def shaped(encoded: str) -> Recognised | None:
    """Which scheme `encoded` looks like, whatever it costs."""
    if not 0 < len(encoded) <= MAX_ENCODED or not encoded.isascii():
        return None
    text, names = _unwrapped(encoded)
    for name in names:
        scheme = SCHEMES[name]
        found = scheme.found(text)
        if found:
            return Recognised(scheme, text.removeprefix(scheme.prefix), found)
    return None


def specimen(encoded: str) -> str | None:
    """A hash of the same scheme and settings, so as costly to check, whose salt and digest are
    zeroed: nobody's. None where `encoded` is not recognised."""
    known = recognise(encoded)
    if known is None:
        return None
    text, zeroed = known.found.string, False
    for group in ("secret", "salt", "digest", "key"):
        if group in known.found.re.groupindex:
            begin, end = known.found.span(group)
            text = text[:begin] + re.sub(r"[^$=]", known.scheme.zero, text[begin:end]) + text[end:]
            zeroed = True
    return text if zeroed else None


def fits(known: Recognised) -> bool:
    try:
        return known.scheme.fits(known.found)
    except ValueError:  # base64 that holds something else
        return False


def _unwrapped(encoded: str) -> tuple[str, tuple[str, ...]]:
    """The hash without the prefix that is no part of it, and what it may be. OpenLDAP reads
    `{ssha}` like `{SSHA}` and hands `{CRYPT}` to crypt(3); Spring writes `{id}` before everything,
    `{ldap}` before LDAP's own."""
    encoded = encoded.removeprefix("{ldap}")
    if prefix := _PREFIX.match(encoded):
        word, rest = prefix[1].upper(), encoded[prefix.end() :]
        if word in _BEHIND:
            return rest, _BEHIND[word]
        encoded = f"{{{word}}}{rest}"
    return encoded, tuple(SCHEMES)
