"""Checking hashes that passlib has no handler for, as the software that made them does.

Each takes the password as octets and what the scheme's shape found; what it costs is bounded
before (`costs`). Whether what they decode is sound is theirs: what they raise counts as a
mismatch.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from functools import cache
from typing import Any

Found = re.Match[str]

_MEMORY = 2**28  # hashlib refuses more, which `costs` has done before
_CRYPT_DATA = 32_768  # sizeof(struct crypt_data)
_PRF = ("sha1", "sha256", "sha512")
_TRIMMED = b" \t\n\r\0\x0b"


def django_scrypt(secret: bytes, found: Found) -> bool:
    made = _scrypt(secret, found["salt"].encode(), *_costs(found), 64)
    return hmac.compare_digest(made, b64decode(found["digest"]))


def werkzeug_scrypt(secret: bytes, found: Found) -> bool:
    made = _scrypt(secret, found["salt"].encode(), *_costs(found), 64)
    return hmac.compare_digest(made, bytes.fromhex(found["digest"]))


def werkzeug_pbkdf2(secret: bytes, found: Found) -> bool:
    wanted = bytes.fromhex(found["digest"])
    salt, rounds = found["salt"].encode(), int(found["cost"])
    return hmac.compare_digest(hashlib.pbkdf2_hmac(found["prf"], secret, salt, rounds), wanted)


def spring_pbkdf2(secret: bytes, found: Found) -> bool:
    """Salt and digest in one; which defaults made them, their length tells."""
    octets = bytes.fromhex(found["secret"])
    prf, salt, rounds = ("sha1", 8, 185_000) if len(octets) == 40 else ("sha256", 16, 310_000)
    made = hashlib.pbkdf2_hmac(prf, secret, octets[:salt], rounds, 32)
    return hmac.compare_digest(made, octets[salt:])


def spring_scrypt(secret: bytes, found: Found) -> bool:
    wanted = b64decode(found["digest"], validate=True)
    made = _scrypt(secret, b64decode(found["salt"]), *spring_costs(found), len(wanted))
    return hmac.compare_digest(made, wanted)


def spring_costs(found: Found) -> tuple[int, int, int]:
    """N, r, p, which are one number in hexadecimal."""
    costs = int(found["costs"], 16)
    return 1 << (costs >> 16), costs >> 8 & 0xFF, costs & 0xFF


def aspnet_identity(secret: bytes, found: Found) -> bool:
    prf, rounds, salt, wanted = aspnet_parts(found)
    made = hashlib.pbkdf2_hmac(_PRF[prf], secret, salt, rounds, len(wanted))
    return hmac.compare_digest(made, wanted)


def aspnet_parts(found: Found) -> tuple[int, int, bytes, bytes]:
    """Version 3 of its layout: a mark, PRF, rounds and length of the salt (32 bits each, big
    endian), salt, digest. ValueError where it is not laid out so."""
    octets = b64decode(found[0], validate=True)
    prf, rounds, length = (int.from_bytes(octets[at : at + 4]) for at in (1, 5, 9))
    salt, digest = octets[13 : 13 + length], octets[13 + length :]
    if (
        octets[0] != 1
        or prf >= len(_PRF)
        or not 8 <= len(salt) <= 64
        or not 16 <= len(digest) <= 64
    ):
        raise ValueError("no hash of ASP.NET Identity v3")
    return prf, rounds, salt, digest


def wordpress(secret: bytes, found: Found) -> bool:
    """bcrypt of an HMAC, since WordPress 6.8. PHP trims what is typed there."""
    import bcrypt

    digest = hmac.digest(b"wp-sha384", secret.strip(_TRIMMED), "sha384")
    return bcrypt.checkpw(b64encode(digest), found["bcrypt"].encode())


def firebase(secret: bytes, found: Found) -> bool:
    """Firebase's scrypt: what is derived encrypts the project's signer key."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    salt = b64decode(found["salt"]) + b64decode(found["separator"])
    derived = _scrypt(secret, salt, 1 << int(found["ln"]), int(found["r"]), 1, 32)
    encryptor = Cipher(algorithms.AES(derived), modes.CTR(bytes(16))).encryptor()
    made = encryptor.update(b64decode(found["key"])) + encryptor.finalize()
    return hmac.compare_digest(made, b64decode(found["digest"]))


def yescrypt(secret: bytes, found: Found) -> bool:
    library = libcrypt()
    if library is None or b"\0" in secret:
        return False
    made = _crypt(library, secret, found[0].encode())
    return made is not None and hmac.compare_digest(made, found[0].encode())


@cache
def libcrypt() -> Any | None:
    """The system's crypt(3), if it knows yescrypt. It releases the interpreter while it works."""
    import ctypes  # no other kind of hash needs it

    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            library = ctypes.CDLL(name)
            library.crypt_rn.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        if _crypt(library, b"", b"$y$j/.$") is not None:
            return library
    return None


def _crypt(library: Any, secret: bytes, setting: bytes) -> bytes | None:
    """None where it does not know the setting. Memory of its own makes it fit for threads."""
    import ctypes

    data = ctypes.create_string_buffer(_CRYPT_DATA)
    made: bytes | None = library.crypt_rn(secret, setting, data, len(data))
    return made if made and made.startswith(b"$y$") else None


def _costs(found: Found) -> tuple[int, int, int]:
    return int(found["n"]), int(found["r"]), int(found["p"])


def _scrypt(secret: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=length)
