"""Private keys in and out as PEM, for operators who bring their own."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlmodel import Session

from identity.errors import Conflict, NotFound, ValidationFailed
from identity.keys import transitions
from identity.keys.master import MasterKey
from identity.keys.material import Material, seal, unseal
from identity.keys.table import SigningKey
from identity.records import audit
from identity.settings import Settings
from identity.verifier.gate.algorithms import ALGORITHMS

LARGEST = 16 * 1024


def export(session: Session, master: MasterKey, kid: str, password: bytes | None = None) -> bytes:
    """The private key `kid` as PKCS #8 PEM, encrypted where there is a `password`.

    `NotFound`; `Conflict` where the key signs no more, because then its private half is gone;
    `ValidationFailed` where the password is longer than PEM encryption takes.
    """
    row = session.get(SigningKey, kid)
    if row is None:
        raise NotFound("there is no such key")
    if row.private is None:
        raise Conflict(f"this key is {row.state}, its private half no longer exists")
    how: KeySerializationEncryption = NoEncryption()
    if password is not None:
        if not 0 < len(password) < 1024:
            raise _refused("/password", "must be 1 to 1023 octets long")
        how = BestAvailableEncryption(password)
    pem = unseal(row, master).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    audit.record(session, "key.exported", subject=kid, encrypted=password is not None)
    return pem


def read(
    master: MasterKey, pem: bytes, password: bytes | None = None, algorithm: str | None = None
) -> Material:
    """What `import_` stores, from any fit private key in PEM. RSA signs RS256 unless told PS256.

    `ValidationFailed` says what is wrong. Checking a large RSA key takes a while: do it before
    the transaction.
    """
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise _refused("/algorithm", f"must be one of {', '.join(ALGORITHMS)}")
    key = _private_key(pem, password)
    fitting = _fitting(key)
    if fitting is None:
        raise _refused("/pem", "is neither an EC (P-256), an RSA nor an Ed25519 key")
    try:
        return seal(key, algorithm or fitting, master)  # type: ignore[arg-type]
    except ValueError as error:
        raise _refused("/pem", str(error)) from None


def import_(
    session: Session, settings: Settings, material: Material, *, activate: bool = False
) -> SigningKey:
    """The brought key takes the place of the `next` one, or with `activate` signs at once.

    Of an algorithm that audiences have chosen it signs for these, of any other for all else,
    whatever the algorithm setting says. Bringing a key that is `next` or `active` again changes
    nothing but that. `Conflict` where it was retired, revoked or brought for another algorithm.
    """
    transitions.lock(session)
    key = session.get(SigningKey, material.kid, populate_existing=True)
    if key is not None and key.withdrawn_at is not None:
        transitions.remove(session, key)  # it begins anew
        key = None
    if key is not None and key.state in ("retired", "revoked"):
        raise Conflict(f"this key is {key.state}, it signs no more")
    if key is not None and key.algorithm != material.algorithm:
        raise Conflict(f"this key is here already, for {key.algorithm}")
    serves = material.algorithm if material.algorithm in settings.keys.served else ""
    if key is not None:
        serves = key.serves
    active = transitions.find(session, "active", serves)
    pending = transitions.find(session, "next", serves)
    if key is None:
        if pending is not None:
            transitions.remove(session, pending)
        key = transitions.publish(session, settings, material, imported=True, serves=serves)
    if key.state == "next" and (activate or (active is None and not serves)):
        transitions.promote(session, settings, key)
    return key


def _private_key(pem: bytes, password: bytes | None) -> object:
    if len(pem) > LARGEST:
        raise _refused("/pem", f"is longer than {LARGEST} octets")
    if b"PRIVATE KEY-----" not in pem:
        if b"-----BEGIN " in pem:
            raise _refused("/pem", "holds no private key; a public key or certificate cannot sign")
        raise _refused("/pem", "is not PEM")
    try:
        return load_pem_private_key(pem, password)
    except TypeError:
        if password is None:
            raise _refused("/password", "is needed, the private key is encrypted") from None
        raise _refused("/password", "is not needed, the private key is not encrypted") from None
    except UnsupportedAlgorithm:
        raise _refused("/pem", "is a kind of key, curve or encryption that is not known") from None
    except ValueError:
        what = "cannot be read" if password is None else "cannot be read with this password"
        raise _refused("/pem", what) from None


def _fitting(key: object) -> str | None:
    """The algorithm that a key of this kind signs by."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ES256"
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    return None


def _refused(pointer: str, words: str) -> ValidationFailed:
    return ValidationFailed([(pointer, f"{pointer[1:]} {words}")])
