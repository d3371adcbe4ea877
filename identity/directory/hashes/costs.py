"""What a stored hash may cost to check, so that none can hold a hashing thread for more than a few
seconds. Each takes what its scheme's shape found.

| scheme | most |
|---|---|
| bcrypt, and everything around it | cost 16 |
| argon2 (i, d, id) | 256 MiB, memory x passes 2 GiB, 16 lanes |
| scrypt, Firebase's too, and yescrypt | 128 MiB, N x r x p 2^22 |
| pbkdf2, with SHA-1, SHA-256 or SHA-512 | 5,000,000 rounds |
| sha256-crypt, sha512-crypt | 1,000,000 rounds |
| phpass | 2^20 rounds |

Measured: 0.4 to 4 s each. The last two run in Python, so that while they last other requests
wait some milliseconds for the interpreter; that ends with the user's first login.
"""

import re
from collections.abc import Callable

from identity.directory.hashes import foreign

_BCRYPT_COSTS = range(4, 17)
_PBKDF2_ROUNDS = range(1, 5_000_001)
_SHA_CRYPT_ROUNDS = range(1_000, 1_000_001)
_PHPASS_COSTS = range(7, 21)
_ARGON2_MEMORY = 256 * 1024  # KiB
_ARGON2_WORK = 2 * 1024 * 1024  # KiB x passes
_SCRYPT_MEMORY = 2**20  # N x r, in units of 128 bytes
_SCRYPT_WORK = 2**22  # N x r x p

_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

Fits = Callable[[re.Match[str]], bool]


def _number(group: str, within: range) -> Fits:
    return lambda found: int(found[group]) in within


def anything(_: re.Match[str]) -> bool:
    return True


def argon2(found: re.Match[str]) -> bool:
    memory, passes, lanes = int(found["m"]), int(found["t"]), int(found["p"])
    return (
        1 <= lanes <= 16
        and 8 * lanes <= memory <= _ARGON2_MEMORY
        and passes >= 1
        and memory * passes <= _ARGON2_WORK
    )


def _scrypt(n: int, r: int, p: int) -> bool:
    return n > 1 and r > 0 and p > 0 and n * r <= _SCRYPT_MEMORY and n * r * p <= _SCRYPT_WORK


def scrypt_phc(found: re.Match[str]) -> bool:
    return _scrypt(1 << int(found["ln"]), int(found["r"]), int(found["p"]))


def scrypt_django(found: re.Match[str]) -> bool:
    n = int(found["n"])
    return n & (n - 1) == 0 and _scrypt(n, int(found["r"]), int(found["p"]))


def scrypt_spring(found: re.Match[str]) -> bool:
    return int(found["costs"], 16) >> 16 < 32 and _scrypt(*foreign.spring_costs(found))


def scrypt_firebase(found: re.Match[str]) -> bool:
    return int(found["ln"]) < 32 and _scrypt(1 << int(found["ln"]), int(found["r"]), 1)


def yescrypt(found: re.Match[str]) -> bool:
    """N and r are one character each; what needs more is dearer than anything here."""
    log, r = (_ITOA64.index(found[part]) + 1 for part in ("n", "r"))
    return log < 32 and _scrypt(1 << log, r, 1) and foreign.libcrypt() is not None


def aspnet(found: re.Match[str]) -> bool:
    return foreign.aspnet_parts(found)[1] in _PBKDF2_ROUNDS


def phpass(found: re.Match[str]) -> bool:
    return _ITOA64.index(found["cost"]) in _PHPASS_COSTS


def sha_crypt(found: re.Match[str]) -> bool:
    return found["cost"] is None or int(found["cost"]) in _SHA_CRYPT_ROUNDS


bcrypt, pbkdf2 = _number("cost", _BCRYPT_COSTS), _number("cost", _PBKDF2_ROUNDS)
