"""The hash formats that may be stored: the exact shape of each, and what it costs (`hashes.costs`).

Missing on purpose: plain text, anything without a salt (hex digests, `{SHA}`, `{MD5}`), DES crypt
(eight characters), and bcrypt's `$2$` and `$2x$` (broken).
"""

import re
from collections.abc import Callable

from identity.dataclass import dataclass
from identity.directory.hashes import costs, foreign

_H64 = "./0-9A-Za-z"  # the alphabet of crypt(3) and of passlib's own pbkdf2 and bcrypt hashes
_B64 = "+/0-9A-Za-z"


@dataclass(frozen=True, slots=True)
class Scheme:
    name: str
    """As users of the import see it."""
    shape: str
    """Of the whole hash, in ASCII."""
    fits: costs.Fits
    """Whether its cost can be borne."""
    prefix: str = ""
    """What stands before the text that the handler understands."""
    within: str = ""
    """The scheme of what stands behind the prefix."""
    first_72_bytes: bool = False
    """bcrypt reads no more than that, and its library now raises instead of cutting."""
    check: Callable[[bytes, re.Match[str]], bool] | None = None
    """Compares, where passlib has no handler for it."""
    own_threads: bool = False
    """Works in threads of its own, so this thread's CPU time does not show its cost."""
    zero: str = "A"
    """Stands for zero bits in its salts and digests: `recognising.specimen`."""

    def found(self, text: str) -> re.Match[str] | None:
        """Compiled when it is first looked for, and kept by `re`: most services have one scheme."""
        return re.fullmatch(self.shape, text, re.ASCII)

    @property
    def handler(self) -> str:
        """passlib's name for it; empty where passlib has none."""
        return "" if self.check is not None else self.within or self.name


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
    (
        rf"\$bcrypt-sha256\$(?:v=2,t=2b,r=|2[ab],)(?P<cost>[0-9]{{1,2}})"
        rf"\$(?P<secret>[{_H64}]{{22}}\$[{_H64}]{{31}})"
    ),
    costs.bcrypt,
    zero=".",
)
"""What new passwords are stored in."""

_FOREIGN = [
    Scheme("bcrypt", _BCRYPT, costs.bcrypt, first_72_bytes=True, zero="."),
    Scheme("argon2", _ARGON2, costs.argon2, own_threads=True),
    Scheme(
        "scrypt",
        (
            rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>[0-9]{{1,9}}),p=(?P<p>[0-9]{{1,9}})"
            rf"\$(?P<secret>[{_B64}]{{0,342}}\$[{_B64}]{{43}})"
        ),
        costs.scrypt_phc,
    ),
    Scheme("pbkdf2_sha1", rf"\$pbkdf2\${_pbkdf2_of(27)}", costs.pbkdf2),
    Scheme("pbkdf2_sha256", rf"\$pbkdf2-sha256\${_pbkdf2_of(43)}", costs.pbkdf2),
    Scheme("pbkdf2_sha512", rf"\$pbkdf2-sha512\${_pbkdf2_of(86)}", costs.pbkdf2),
    Scheme(
        "phpass",
        rf"\$[PH]\$(?P<cost>[{_H64}])(?P<secret>[{_H64}]{{30}})",
        costs.phpass,
        zero=".",
    ),
    Scheme(
        "md5_crypt",
        rf"\$1\$(?P<secret>[{_H64}]{{0,8}}\$[{_H64}]{{22}})",
        costs.anything,
        zero=".",
    ),
    *(
        Scheme(
            name,
            (
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
        rf"pbkdf2_sha256\$(?P<cost>[0-9]{{1,12}})\$(?P<secret>[0-9A-Za-z]{{1,64}}\$[{_B64}]{{43}})=",
        costs.pbkdf2,
    ),
    Scheme(
        "django_pbkdf2_sha1",
        rf"pbkdf2_sha1\$(?P<cost>[0-9]{{1,12}})\$(?P<secret>[0-9A-Za-z]{{1,64}}\$[{_B64}]{{27}})=",
        costs.pbkdf2,
    ),
    Scheme(
        "django_salted_sha1",
        r"sha1\$(?P<secret>[0-9A-Za-z]{1,64}\$[0-9a-f]{40})",
        costs.anything,
        zero="0",
    ),
    Scheme(
        "django_salted_md5",
        r"md5\$(?P<secret>[0-9A-Za-z]{1,64}\$[0-9a-f]{32})",
        costs.anything,
        zero="0",
    ),
    Scheme("django_bcrypt_sha256", rf"bcrypt_sha256\${_BCRYPT}", costs.bcrypt, zero="."),
    Scheme(
        "django_bcrypt",
        rf"bcrypt\${_BCRYPT}",
        costs.bcrypt,
        prefix="bcrypt$",
        within="bcrypt",
        first_72_bytes=True,
        zero=".",
    ),
    Scheme(  # passlib's own django_argon2 knows argon2i only, Django has made argon2id since 3.2
        "django_argon2",
        rf"argon2{_ARGON2}",
        costs.argon2,
        prefix="argon2",
        within="argon2",
        own_threads=True,
    ),
    Scheme(  # unknown to passlib
        "django_scrypt",
        (
            r"scrypt\$(?P<n>[0-9]{1,12})\$(?P<salt>[0-9A-Za-z]{1,64})\$(?P<r>[0-9]{1,9})"
            rf"\$(?P<p>[0-9]{{1,9}})\$(?P<digest>[{_B64}]{{86}}==)"
        ),
        costs.scrypt_django,
        check=foreign.django_scrypt,
    ),
    Scheme(
        "werkzeug_scrypt",
        (
            r"scrypt:(?P<n>[0-9]{1,12}):(?P<r>[0-9]{1,9}):(?P<p>[0-9]{1,9})"
            r"\$(?P<salt>[0-9A-Za-z]{1,64})\$(?P<digest>[0-9A-Fa-f]{128})"
        ),
        costs.scrypt_django,
        check=foreign.werkzeug_scrypt,
        zero="0",
    ),
    Scheme(
        "werkzeug_pbkdf2",
        (
            r"pbkdf2:(?P<prf>sha1|sha256|sha512):(?P<cost>[0-9]{1,12})\$(?P<salt>[0-9A-Za-z]{1,64})"
            r"\$(?P<digest>[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})"
        ),
        costs.pbkdf2,
        check=foreign.werkzeug_pbkdf2,
        zero="0",
    ),
    Scheme(
        "aspnet_identity",
        rf"AQAAAA[{_B64}]{{12}}(?P<secret>[{_B64}]{{14,170}})={{0,2}}",
        costs.aspnet,
        check=foreign.aspnet_identity,
    ),
    Scheme(
        "wordpress",
        rf"\$wp(?P<bcrypt>{_BCRYPT})",
        costs.bcrypt,
        check=foreign.wordpress,
        zero=".",
    ),
    Scheme(
        "yescrypt",
        rf"\$y\$j(?P<n>[{_H64}])(?P<r>[./0-9A-Za-j])\$(?P<secret>[{_H64}]{{1,86}}\$[{_H64}]{{43}})",
        costs.yescrypt,
        check=foreign.yescrypt,
        zero=".",
    ),
    Scheme(  # the text is ours: an export has hash and salt, its project the other parameters
        "firebase_scrypt",
        (
            r"\$fbscrypt\$v=1,n=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,9}),p=1"
            rf",ss=(?P<separator>[{_B64}]{{0,64}}={{0,2}}),sk=(?P<key>[{_B64}]{{16,200}}={{0,2}})"
            rf"\$(?P<salt>[{_B64}]{{1,128}}={{0,2}})\$(?P<digest>[{_B64}]{{16,200}}={{0,2}})"
        ),
        costs.scrypt_firebase,
        check=foreign.firebase,
    ),
    # Spring Security's, as `recognising` writes their `{id}`.
    Scheme(
        "spring_pbkdf2",
        r"\{PBKDF2\}(?P<secret>[0-9A-Fa-f]{80}|[0-9A-Fa-f]{96})",
        costs.anything,
        check=foreign.spring_pbkdf2,
        zero="0",
    ),
    Scheme(
        "spring_scrypt",
        (
            rf"\{{SCRYPT\}}\$(?P<costs>[0-9a-f]{{5,7}})\$(?P<salt>[{_B64}]{{8,128}}={{0,2}})"
            rf"\$(?P<digest>[{_B64}]{{20,128}}={{0,2}})"
        ),
        costs.scrypt_spring,
        check=foreign.spring_scrypt,
    ),
    # OpenLDAP's `{SCHEME}`; see also `recognising` for {CRYPT}.
    Scheme("ldap_salted_md5", rf"{{SMD5}}(?P<secret>[{_B64}]{{27,43}})={{0,2}}", costs.anything),
    Scheme(
        "ldap_salted_sha1",
        rf"{{SSHA}}(?P<secret>[{_B64}]{{32,48}})={{0,2}}",
        costs.anything,
    ),
    Scheme(
        "ldap_salted_sha256",
        rf"{{SSHA256}}(?P<secret>[{_B64}]{{48,64}})={{0,2}}",
        costs.anything,
    ),
    Scheme(
        "ldap_salted_sha512",
        rf"{{SSHA512}}(?P<secret>[{_B64}]{{91,107}})={{0,2}}",
        costs.anything,
    ),
    Scheme("ldap_pbkdf2_sha1", rf"{{PBKDF2}}{_pbkdf2_of(27)}", costs.pbkdf2),
    Scheme("ldap_pbkdf2_sha256", rf"{{PBKDF2-SHA256}}{_pbkdf2_of(43)}", costs.pbkdf2),
    Scheme("ldap_pbkdf2_sha512", rf"{{PBKDF2-SHA512}}{_pbkdf2_of(86)}", costs.pbkdf2),
]

SCHEMES = {scheme.name: scheme for scheme in (CURRENT, *_FOREIGN)}
