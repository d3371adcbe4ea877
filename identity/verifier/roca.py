"""RSA keys that Infineon's library made, whose private halves can be computed: CVE-2017-15361.

Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack (CCS 2017), §2.1. That
library's primes are k * M + (65537^a mod M), where M is the product of the first primes. So for
each of these primes the modulus lies among the powers of 65537, where other moduli lie by chance;
for all of them at once by one in 2^27 at the most.
"""

from __future__ import annotations

from typing import Final

_GENERATOR: Final = 65537
_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip
"""Of the least M, that of keys of 512 bits; larger keys have these and more."""
_POWERS: Final = {
    prime: frozenset(pow(_GENERATOR, e, prime) for e in range(prime)) for prime in _PRIMES
}


def is_roca(modulus: int) -> bool:
    return all(modulus % prime in _POWERS[prime] for prime in _PRIMES)
