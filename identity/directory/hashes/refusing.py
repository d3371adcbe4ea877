"""Why a hash cannot be imported: which format it is, and which of three reasons.

Its format is unknown; or known, but not supported, too weak or too costly; or it is damaged.
"""

import re

from identity.directory.hashes import foreign
from identity.directory.hashes.recognising import MAX_ENCODED, fits, shaped

_WEAK = (
    (r"\{(?:noop|clear|cleartext|plain)\}.*", "plain text"),
    (r"\{(?:SHA|SHA-1|SHA256|SHA-256|SHA512|MD4|MD5)\}.*", "a digest without its own salt or cost"),
    (r"\$2x?\$.*", "bcrypt's broken first form"),
    (r"(?:0x)?[0-9A-Fa-f]{32}", "a bare MD5 or NT digest"),
    (r"[0-9A-Fa-f]{40}", "a bare SHA-1 digest"),
    (r"[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}", "a bare SHA-224 or SHA-256 digest"),
    (r"[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128}", "a bare SHA-384 or SHA-512 digest"),
    (r"\*[0-9A-Fa-f]{40}", "MySQL's double SHA-1"),
    (r"md5[0-9a-f]{32}", "PostgreSQL's MD5"),
    (r"\$3\$.*", "an NT digest"),
    (r"(?:\{CRYPT\}|crypt\$[./0-9A-Za-z]{0,2}\$)?_?[./0-9A-Za-z]{13}", "DES crypt or plain text"),
)
_UNSUPPORTED = (
    (r"!.*", "Django's mark of an account without a password, or a locked one"),
    (r"AA[A-P][+/0-9A-Za-z]{65}", "ASP.NET Identity v2"),
    (r"0x0[12]00[0-9A-Fa-f]+", "SQL Server's"),
    (r"\$gy\$.*", "gost-yescrypt"),
    (r"\$7\$.*", "crypt's scrypt"),
    (r"\$sm3\$.*", "crypt's SM3"),
    (r"\$sha1\$.*", "sha1-crypt"),
    (r"\$md5[,$].*", "Sun's MD5"),
    (r"\$S\$.*", "Drupal 7"),
    (r"\$[89]\$.*", "Cisco's"),
    (r"\$ml\$.*", "macOS PBKDF2"),
    (r":(?:A|B|pbkdf2).*", "MediaWiki"),
    (r"SCRAM-SHA-(?:1|256)\$.*", "PostgreSQL SCRAM"),
    (r"(?:sha1|sha224|sha256|sha384|sha512|md5)\$[^$]+\$[0-9a-f]{56,128}", "old Werkzeug"),
    (r"\{(?:sasl|gssapi|kerberos|x-?nthash|lanman)\}.*", "another system's password behind LDAP"),
)
_BEGINNINGS = (
    (r"\$bcrypt-sha256\$|bcrypt_sha256\$", "bcrypt over SHA-256"),
    (r"\$wp\$", "WordPress bcrypt"),
    (r"\{CRYPT\}\$2|\{bcrypt\}|\$2[aby]\$|bcrypt\$", "bcrypt"),
    (r"(?:\{argon2(?:@\w+)?\}|argon2)?\$?argon2", "argon2"),
    (r"\{argon2", "argon2"),
    (r"\$fbscrypt\$", "Firebase's scrypt"),
    (r"(?:\$|\{)?scrypt", "scrypt"),
    (r"[{$]?pbkdf2", "PBKDF2"),
    (r"(?:\{CRYPT\})?\$y\$", "yescrypt"),
    (r"(?:\{CRYPT\})?\$1\$", "md5-crypt"),
    (r"(?:\{CRYPT\})?\$5\$", "sha256-crypt"),
    (r"(?:\{CRYPT\})?\$6\$", "sha512-crypt"),
    (r"\$[PH]\$", "phpass"),
    (r"\{(?:ldap\}\{)?S(?:MD5|SHA(?:256|512)?)\}", "LDAP's salted digest"),
    (r"sha1\$|md5\$", "Django's salted digest"),
    (r"AQAAAA", "ASP.NET Identity v3"),
)


def reason(encoded: str) -> str:
    """The predicate of a sentence about a hash that `PasswordHasher.identify` refuses."""
    known = shaped(encoded)
    if known is not None and not fits(known):
        if known.scheme.name == "yescrypt" and foreign.libcrypt() is None:
            return "is yescrypt: known, but this machine's libcrypt does not have it"
        if known.scheme.name == "aspnet_identity" and not _laid_out(known.found):
            return "is ASP.NET Identity v3, but damaged"
        return f"is {known.scheme.name}: known, but at a cost that is never spent here"
    if len(encoded) > MAX_ENCODED:
        return f"is longer than any known format ({MAX_ENCODED} characters)"
    if name := _named(_WEAK, encoded, whole=True):
        return f"is {name}: known, but too weak"
    if name := _named(_UNSUPPORTED, encoded, whole=True):
        return f"is {name}: known, but not supported"
    if name := known.scheme.name if known is not None else _named(_BEGINNINGS, encoded):
        return f"is {name}, but damaged"
    return "is in no format that is known here"


def _laid_out(found: re.Match[str]) -> bool:
    try:
        foreign.aspnet_parts(found)
    except ValueError:
        return False
    return True


def _named(table: tuple[tuple[str, str], ...], text: str, *, whole: bool = False) -> str:
    for pattern, name in table:
        compiled = re.compile(pattern, re.ASCII | re.IGNORECASE if "{" in pattern else re.ASCII)
        if compiled.fullmatch(text) if whole else compiled.match(text):
            return name
    return ""
