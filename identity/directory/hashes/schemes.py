"""The hash formats that may be stored, and how each is recognised.

A stored hash is text from outside (an import, another system's table), so nothing in it is
believed: only the exact shape of a known scheme is recognised, and only at a bearable cost
(`hashes.costs`).

Not recognised, on purpose: plain text, anything without a salt (hex digests, `{SHA}`, `{MD5}`),
DES crypt (eight characters), and bcrypt's `$2$` and `$2x$` (broken).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from identity.directory.hashes import costs, foreign

MAX_ENCODED = 1024
"""Characters of the longest stored hash that is looked at."""

_H64 = "./0-9A-Za-z"  # the alphabet of crypt(3) and of passlib's own pbkdf2 and bcrypt hashes
_B64 = "+/0-9A-Za-z"


@dataclass(frozen=True, slots=True)
class Scheme:
    name: str
    """As users of the import see it."""
    handler: str
    """passlib's handler for it; empty where passlib has none, and `check` compares."""
    shape: re.Pattern[str]
    fits: costs.Fits
    """Whether its cost can be borne."""
    prefix: str = ""
    """What stands before the text that the handler understands."""
    first_72_bytes: bool = False
    """bcrypt reads no more than that, and its library now raises instead of cutting."""
    check: Callable[[bytes, re.Match[str]], bool] | None = None
    own_threads: bool = False
    """Works in threads of its own, so this thread's CPU time does not show its cost."""
    zero: str = "A"
    """Stands for zero bits in its salts and digests: `specimen`."""


@dataclass(frozen=True, slots=True)
class Recognised:
    scheme: Scheme
    encoded: str
    """The text without the scheme's prefix."""
    found: re.Match[str]


def _shape(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


_BCRYPT = rf"\$2[aby]\$(?P<cost>[0-9]{{2}})\$(?P<secret>[{_H64}]{{53}})"
_ARGON2 = (
    rf"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m=(?P<m>[0-9]{{1,12}}),t=(?P<t>[0-9]{{1,12}})"
    rf",p=(?P<p>[0-9]{{1,9}})\$(?P<secret>[{_B64}]{{11,86}}\$[{_B64}]{{16,171}})"
)


def _pbkdf2_of(length: int) -> str:
    """Rounds, salt and a digest of so many characters."""
    return rf"(?P<cost>[0-9]{{1,12}})\$(?P<secret>[{_H64}]{{0,342}}\$[{_H64}]{{{length}}})"


CURRENT = Scheme(
    "bcrypt_sha256",
    "bcrypt_sha256",
    _shape(
        rf"\$bcrypt-sha256\$(?:v=2,t=2b,r=|2[ab],)(?P<cost>[0-9]{{1,2}})"
        rf"\$(?P<secret>[{_H64}]{{22}}\$[{_H64}]{{31}})"
    ),
    costs.bcrypt,
    zero=".",
)
"""What new passwords are stored in."""

_FOREIGN = [
    Scheme("bcrypt", "bcrypt", _shape(_BCRYPT), costs.bcrypt, first_72_bytes=True, zero="."),
    Scheme("argon2", "argon2", _shape(_ARGON2), costs.argon2, own_threads=True),
    Scheme(
        "scrypt",
        "scrypt",
        _shape(
            rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>[0-9]{{1,9}}),p=(?P<p>[0-9]{{1,9}})"
            rf"\$(?P<secret>[{_B64}]{{0,342}}\$[{_B64}]{{43}})"
        ),
        costs.scrypt_phc,
    ),
    Scheme("pbkdf2_sha1", "pbkdf2_sha1", _shape(rf"\$pbkdf2\${_pbkdf2_of(27)}"), costs.pbkdf2),
    Scheme(
        "pbkdf2_sha256",
        "pbkdf2_sha256",
        _shape(rf"\$pbkdf2-sha256\${_pbkdf2_of(43)}"),
        costs.pbkdf2,
    ),
    Scheme(
        "pbkdf2_sha512",
        "pbkdf2_sha512",
        _shape(rf"\$pbkdf2-sha512\${_pbkdf2_of(86)}"),
        costs.pbkdf2,
    ),
    Scheme(
        "phpass",
        "phpass",
        _shape(rf"\$[PH]\$(?P<cost>[{_H64}])(?P<secret>[{_H64}]{{30}})"),
        costs.phpass,
        zero=".",
    ),
    Scheme(
        "md5_crypt",
        "md5_crypt",
        _shape(rf"\$1\$(?P<secret>[{_H64}]{{0,8}}\$[{_H64}]{{22}})"),
        costs.anything,
        zero=".",
    ),
    *(
        Scheme(
            name,
            name,
            _shape(
                rf"\${digit}\$(?:rounds=(?P<cost>[1-9][0-9]{{0,11}})\$)?"
                rf"(?P<secret>[{_H64}]{{0,16}}\$[{_H64}]{{{length}}})"
            ),
            costs.sha_crypt,
            zero=".",
        )
        for name, digit, length in (("sha256_crypt", 5, 43), ("sha512_crypt", 6, 86))
    ),
    # Django's `algorithm$…`, salts as Django makes them.
    Scheme(
        "django_pbkdf2_sha256",
        "django_pbkdf2_sha256",
        _shape(
            rf"pbkdf2_sha256\$(?P<cost>[0-9]{{1,12}})\$(?P<secret>[0-9A-Za-z]{{1,64}}\$[{_B64}]{{43}})="
        ),
        costs.pbkdf2,
    ),
    Scheme(
        "django_pbkdf2_sha1",
        "django_pbkdf2_sha1",
        _shape(
            rf"pbkdf2_sha1\$(?P<cost>[0-9]{{1,12}})\$(?P<secret>[0-9A-Za-z]{{1,64}}\$[{_B64}]{{27}})="
        ),
        costs.pbkdf2,
    ),
    Scheme(
        "django_salted_sha1",
        "django_salted_sha1",
        _shape(r"sha1\$(?P<secret>[0-9A-Za-z]{1,64}\$[0-9a-f]{40})"),
        costs.anything,
        zero="0",
    ),
    Scheme(
        "django_salted_md5",
        "django_salted_md5",
        _shape(r"md5\$(?P<secret>[0-9A-Za-z]{1,64}\$[0-9a-f]{32})"),
        costs.anything,
        zero="0",
    ),
    Scheme(
        "django_bcrypt_sha256",
        "django_bcrypt_sha256",
        _shape(rf"bcrypt_sha256\${_BCRYPT}"),
        costs.bcrypt,
        zero=".",
    ),
    Scheme(
        "django_bcrypt",
        "bcrypt",
        _shape(rf"bcrypt\${_BCRYPT}"),
        costs.bcrypt,
        prefix="bcrypt$",
        first_72_bytes=True,
        zero=".",
    ),
    Scheme(  # passlib's own django_argon2 knows argon2i only, Django has made argon2id since 3.2
        "django_argon2",
        "argon2",
        _shape(rf"argon2{_ARGON2}"),
        costs.argon2,
        prefix="argon2",
        own_threads=True,
    ),
    Scheme(  # unknown to passlib
        "django_scrypt",
        "",
        _shape(
            r"scrypt\$(?P<n>[0-9]{1,12})\$(?P<salt>[0-9A-Za-z]{1,64})\$(?P<r>[0-9]{1,9})"
            rf"\$(?P<p>[0-9]{{1,9}})\$(?P<digest>[{_B64}]{{86}}==)"
        ),
        costs.scrypt_django,
        check=foreign.django_scrypt,
    ),
    Scheme(
        "werkzeug_scrypt",
        "",
        _shape(
            r"scrypt:(?P<n>[0-9]{1,12}):(?P<r>[0-9]{1,9}):(?P<p>[0-9]{1,9})"
            r"\$(?P<salt>[0-9A-Za-z]{1,64})\$(?P<digest>[0-9A-Fa-f]{128})"
        ),
        costs.scrypt_django,
        check=foreign.werkzeug_scrypt,
        zero="0",
    ),
    Scheme(
        "werkzeug_pbkdf2",
        "",
        _shape(
            r"pbkdf2:(?P<prf>sha1|sha256|sha512):(?P<cost>[0-9]{1,12})\$(?P<salt>[0-9A-Za-z]{1,64})"
            r"\$(?P<digest>[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})"
        ),
        costs.pbkdf2,
        check=foreign.werkzeug_pbkdf2,
        zero="0",
    ),
    Scheme(
        "aspnet_identity",
        "",
        _shape(rf"AQAAAA[{_B64}]{{12}}(?P<secret>[{_B64}]{{14,170}})={{0,2}}"),
        costs.aspnet,
        check=foreign.aspnet_identity,
    ),
    Scheme(
        "wordpress",
        "",
        _shape(rf"\$wp(?P<bcrypt>{_BCRYPT})"),
        costs.bcrypt,
        check=foreign.wordpress,
        zero=".",
    ),
    Scheme(
        "yescrypt",
        "",
        _shape(
            rf"\$y\$j(?P<n>[{_H64}])(?P<r>[./0-9A-Za-j])\$(?P<secret>[{_H64}]{{1,86}}\$[{_H64}]{{43}})"
        ),
        costs.yescrypt,
        check=foreign.yescrypt,
        zero=".",
    ),
    Scheme(  # the text is ours: an export has hash and salt, its project the other parameters
        "firebase_scrypt",
        "",
        _shape(
            r"\$fbscrypt\$v=1,n=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,9}),p=1"
            rf",ss=(?P<separator>[{_B64}]{{0,64}}={{0,2}}),sk=(?P<key>[{_B64}]{{16,200}}={{0,2}})"
            rf"\$(?P<salt>[{_B64}]{{1,128}}={{0,2}})\$(?P<digest>[{_B64}]{{16,200}}={{0,2}})"
        ),
        costs.scrypt_firebase,
        check=foreign.firebase,
    ),
    # Spring Security's, as `_unwrapped` writes their `{id}`.
    Scheme(
        "spring_pbkdf2",
        "",
        _shape(r"\{PBKDF2\}(?P<secret>[0-9A-Fa-f]{80}|[0-9A-Fa-f]{96})"),
        costs.anything,
        check=foreign.spring_pbkdf2,
        zero="0",
    ),
    Scheme(
        "spring_scrypt",
        "",
        _shape(
            rf"\{{SCRYPT\}}\$(?P<costs>[0-9a-f]{{5,7}})\$(?P<salt>[{_B64}]{{8,128}}={{0,2}})"
            rf"\$(?P<digest>[{_B64}]{{20,128}}={{0,2}})"
        ),
        costs.scrypt_spring,
        check=foreign.spring_scrypt,
    ),
    # OpenLDAP's `{SCHEME}`; see also `_unwrapped` for {CRYPT}.
    Scheme(
        "ldap_salted_md5",
        "ldap_salted_md5",
        _shape(rf"{{SMD5}}(?P<secret>[{_B64}]{{27,43}})={{0,2}}"),
        costs.anything,
    ),
    Scheme(
        "ldap_salted_sha1",
        "ldap_salted_sha1",
        _shape(rf"{{SSHA}}(?P<secret>[{_B64}]{{32,48}})={{0,2}}"),
        costs.anything,
    ),
    Scheme(
        "ldap_salted_sha256",
        "ldap_salted_sha256",
        _shape(rf"{{SSHA256}}(?P<secret>[{_B64}]{{48,64}})={{0,2}}"),
        costs.anything,
    ),
    Scheme(
        "ldap_salted_sha512",
        "ldap_salted_sha512",
        _shape(rf"{{SSHA512}}(?P<secret>[{_B64}]{{91,107}})={{0,2}}"),
        costs.anything,
    ),
    Scheme(
        "ldap_pbkdf2_sha1", "ldap_pbkdf2_sha1", _shape(rf"{{PBKDF2}}{_pbkdf2_of(27)}"), costs.pbkdf2
    ),
    Scheme(
        "ldap_pbkdf2_sha256",
        "ldap_pbkdf2_sha256",
        _shape(rf"{{PBKDF2-SHA256}}{_pbkdf2_of(43)}"),
        costs.pbkdf2,
    ),
    Scheme(
        "ldap_pbkdf2_sha512",
        "ldap_pbkdf2_sha512",
        _shape(rf"{{PBKDF2-SHA512}}{_pbkdf2_of(86)}"),
        costs.pbkdf2,
    ),
]

SCHEMES = {scheme.name: scheme for scheme in (CURRENT, *_FOREIGN)}
_BEHIND = {
    "CRYPT": ("bcrypt", "sha256_crypt", "sha512_crypt", "md5_crypt", "yescrypt"),
    "BCRYPT": ("bcrypt",),
    "ARGON2": ("argon2",),
}
"""What may follow a prefix that is no part of the hash."""
_PREFIX = re.compile(r"\{([A-Za-z0-9-]{1,16})(?:@SpringSecurity_v5_8)?\}")


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
        found = scheme.shape.fullmatch(text)
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
