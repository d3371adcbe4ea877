"""RSA keys as Infineon's faulty library made them (CVE-2017-15361), from the paper's own words."""

from __future__ import annotations

import secrets
from functools import cache
from math import prod

from cryptography.hazmat.primitives.asymmetric import rsa

_M = prod(n for n in range(2, 168) if all(n % d for d in range(2, n)))
_BITS = 1024


def _prime() -> int:
    """k * M + (65537^a mod M), prime by Fermat's test to three bases."""
    while True:
        k = secrets.randbits(_BITS - _M.bit_length() - 1) | 3 << (_BITS - _M.bit_length() - 1)
        candidate = k * _M + pow(65537, secrets.randbelow(_M), _M)
        if candidate.bit_length() == _BITS and all(
            pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5)
        ):
            return candidate


@cache
def roca_key() -> rsa.RSAPrivateKey:
    while True:
        p, q, e = _prime(), _prime(), 65537
        if (p * q).bit_length() == 2 * _BITS:
            break
    d = pow(e, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(e, p * q),
    ).private_key()  # fmt: skip
