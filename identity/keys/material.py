"""Key material: a key pair on its way into the table, and a private half on its way out of it."""

from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from identity.dataclass import dataclass
from identity.keys.master import MasterKey
from identity.keys.table import SigningKey
from identity.settings import SettingsError
from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey
from identity.verifier.gate.jwk import thumbprint


@dataclass(frozen=True)
class Material:
    """A key pair, ready to be stored: `public` is its JWK, `private` is encrypted."""

    kid: str
    algorithm: str
    public: dict[str, Any]
    private: str = field(repr=False)


def prepare(algorithm: str, master: MasterKey) -> Material:
    """A new key pair. RSA takes a second of one core: do it before the transaction, in a thread."""
    return seal(ALGORITHMS[algorithm].generate(), algorithm, master)


def seal(key: PrivateKey, algorithm: str, master: MasterKey) -> Material:
    """`key` for `algorithm`; ValueError with a sentence where it does not fit."""
    public = ALGORITHMS[algorithm].jwk(key)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Material(public["kid"], algorithm, public, master.encrypt(der))


def unseal(row: SigningKey, master: MasterKey) -> PrivateKey:
    """The private half of `row`, which must have one. `SettingsError` where it cannot be read or
    belongs to another public key."""
    assert row.private is not None
    der = master.decrypt(row.private)
    # What we encrypted ourselves we need not prove again: that takes an RSA key 100 signatures.
    key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    try:
        public = ALGORITHMS[row.algorithm].jwk(key)  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"signing key {row.kid}: {error}") from None
    if thumbprint(public) != row.kid:
        raise SettingsError(f"signing key {row.kid}: its private half is another key's")
    return key  # type: ignore[return-value]
