from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from identity.clock import Frozen
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.keys import exchange, rotation, transitions
from identity.keys.master import MasterKey
from identity.keys.material import prepare
from identity.keys.table import SigningKey
from identity.settings import Settings
from identity.store import Database
from identity.verifier.gate.algorithms import ALGORITHMS
from tests.verifier.roca import roca_key

Keys = Callable[[], dict[str, str]]

EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


def pem(
    key: Any,
    password: bytes | None = None,
    form: PrivateFormat = PrivateFormat.PKCS8,
) -> bytes:
    how: KeySerializationEncryption = NoEncryption()
    if password:
        how = BestAvailableEncryption(password)
    return bytes(key.private_bytes(Encoding.PEM, form, how))


@pytest.fixture
def bring(db: Database, settings: Settings, master_key: MasterKey) -> Callable[..., str]:
    """`bring(pem, password, algorithm, activate=…)`: the imported key's id."""

    def bring(content: bytes, *arguments: Any, activate: bool = False) -> str:
        material = exchange.read(master_key, content, *arguments)
        with db.transaction() as session:
            return exchange.import_(session, settings, material, activate=activate).kid

    return bring


@pytest.fixture
def carry(db: Database, master_key: MasterKey) -> Callable[..., bytes]:
    def carry(kid: str, password: bytes | None = None) -> bytes:
        with db.transaction() as session:
            return exchange.export(session, master_key, kid, password)

    return carry


@pytest.fixture
def first(db: Database, settings: Settings, master_key: MasterKey) -> str:
    material = prepare("ES256", master_key)
    with db.transaction() as session:
        rotation.ensure(session, settings, {"": material})
    return material.kid


@pytest.mark.parametrize(
    ("content", "asked", "algorithm"),
    [
        (pem(EC), None, "ES256"),
        (pem(EC, form=PrivateFormat.TraditionalOpenSSL), None, "ES256"),
        (pem(RSA), None, "RS256"),
        (pem(RSA, form=PrivateFormat.TraditionalOpenSSL), "RS256", "RS256"),
        (pem(RSA), "PS256", "PS256"),
        (pem(ED25519), None, "EdDSA"),
    ],
    ids=["ec", "ec sec1", "rsa", "rsa pkcs1", "rsa for pss", "ed25519"],
)
def test_any_fit_key_can_be_brought_and_carried_away(
    bring: Any, carry: Any, keys: Keys, db: Database, content: bytes, asked: str, algorithm: str
) -> None:
    kid = bring(content, None, asked)
    assert keys() == {kid: "active"}
    with db.transaction() as session:
        row = session.get_one(SigningKey, kid)
        assert (row.algorithm, row.imported) == (algorithm, True)
        assert row.public == ALGORITHMS[algorithm].jwk(load_pem_private_key(content, None))  # type: ignore[arg-type]
    assert pem(load_pem_private_key(carry(kid), None)) == pem(load_pem_private_key(content, None))


def test_passwords_protect_what_travels(bring: Any, carry: Any, told: Any) -> None:
    kid = bring(pem(ED25519, b"outer"), b"outer")
    carried = carry(kid, b"inner")
    assert carried.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert pem(load_pem_private_key(carried, b"inner")) == pem(ED25519)
    assert told(kid) == ["key.imported", "key.activated", "key.exported", ["key.changed"]]


PUBLIC = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FIT = "is neither an EC (P-256), an RSA nor an Ed25519 key"


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (PUBLIC, (), "pem holds no private key; a public key or certificate cannot sign"),
        (b"hello", (), "pem is not PEM"),
        (b"", (), "pem is not PEM"),
        (b"x" * 16385, (), "pem is longer than 16384 octets"),
        (pem(EC)[:80], (), "pem cannot be read"),
        (pem(EC).replace(b"MIGH", b"AAAA"), (), "pem cannot be read"),
        (pem(EC, b"right"), (), "password is needed, the private key is encrypted"),
        (pem(EC, b"right"), (b"wrong",), "pem cannot be read with this password"),
        (pem(EC), (b"x",), "password is not needed, the private key is not encrypted"),
        (pem(EC), (None, "HS256"), "algorithm must be one of ES256, RS256, PS256, EdDSA"),
        (pem(EC), (None, "RS256"), "pem RS256 needs an RSA key"),
        (
            pem(ec.generate_private_key(ec.SECP384R1())),
            (),
            "pem ES256 needs a key on P-256, not on secp384r1",
        ),
        (
            pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
            (),
            "pem RS256 needs 2048 to 8192 bits, not 1024",
        ),
        (pem(ed448.Ed448PrivateKey.generate()), (), f"pem {FIT}"),
        (pem(dsa.generate_private_key(1024)), (), f"pem {FIT}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_unfit_keys_are_refused_in_words(
    bring: Any, keys: Keys, content: bytes, arguments: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        bring(content, *arguments)
    assert refused.value.detail == words
    assert keys() == {}


def test_an_unknown_curve_or_cipher_is_refused(bring: Any, monkeypatch: Any) -> None:
    def unknown(*_: Any) -> None:
        raise UnsupportedAlgorithm("curve 2.23.43.1.4.1")

    monkeypatch.setattr(exchange, "load_pem_private_key", unknown)
    with pytest.raises(ValidationFailed, match="is a kind of key"):
        bring(pem(EC))


def test_a_brought_key_is_published_before_it_signs(
    first: str, bring: Any, keys: Keys, db: Database, settings: Settings, clock: Frozen
) -> None:
    kid = bring(pem(RSA))
    assert keys() == {first: "active", kid: "next"}
    clock.tick(transitions.lead(settings))
    with db.transaction() as session:
        rotation.tend(session, settings, None)
    assert keys() == {first: "retired", kid: "active"}


def test_a_brought_key_signs_at_once_where_that_is_asked(
    first: str, bring: Any, keys: Keys
) -> None:
    kid = bring(pem(RSA), activate=True)
    assert keys() == {first: "retired", kid: "active"}


def test_bringing_a_key_again_changes_nothing(first: str, bring: Any, keys: Keys) -> None:
    kid = bring(pem(RSA))
    assert bring(pem(RSA)) == kid
    assert keys() == {first: "active", kid: "next"}
    bring(pem(RSA), activate=True)
    assert keys() == {first: "retired", kid: "active"}
    bring(pem(RSA), activate=True)
    assert keys() == {first: "retired", kid: "active"}


def test_a_brought_key_takes_the_place_of_the_next_one(
    first: str,
    bring: Any,
    keys: Keys,
    told: Any,
    db: Database,
    settings: Settings,
    master_key: MasterKey,
) -> None:
    with db.transaction() as session:
        planned = rotation.rotate(session, settings, prepare("ES256", master_key)).kid
    kid = bring(pem(RSA))
    assert keys() == {first: "active", kid: "next"}
    assert told(planned) == ["key.created", "key.removed", ["key.changed"]]


def test_a_brought_key_stays_whatever_the_algorithm_setting_says(
    bring: Any, keys: Keys, db: Database, settings: Settings, master_key: MasterKey
) -> None:
    kid = bring(pem(RSA))
    with db.transaction() as session:
        rotation.ensure(session, settings, {"": prepare("ES256", master_key)})
    assert keys() == {kid: "active"}


def test_a_key_that_signs_no_more_neither_comes_back_nor_leaves(
    bring: Any, carry: Any, keys: Keys, db: Database, settings: Settings, master_key: MasterKey
) -> None:
    retired = bring(pem(RSA))
    revoked = bring(pem(EC), activate=True)
    with db.transaction() as session:
        rotation.revoke(session, settings, revoked, prepare("ES256", master_key))
    before = keys()
    for kid, key in ((retired, RSA), (revoked, EC)):
        with pytest.raises(Conflict, match=f"this key is {before[kid]}, it signs no more"):
            bring(pem(key), activate=True)
        with pytest.raises(Conflict, match=f"this key is {before[kid]}, its private half"):
            carry(kid)
    assert keys() == before


def test_one_rsa_key_does_not_sign_in_two_ways(bring: Any) -> None:
    bring(pem(RSA))
    with pytest.raises(Conflict, match="here already, for RS256"):
        bring(pem(RSA), None, "PS256")


def test_export_refuses_unknown_keys_and_impossible_passwords(first: str, carry: Any) -> None:
    with pytest.raises(NotFound):
        carry("unknown")
    for password in (b"", b"x" * 1024):
        with pytest.raises(ValidationFailed, match="must be 1 to 1023 octets long"):
            carry(first, password)


def test_a_key_whose_private_half_others_can_compute_is_refused(bring: Any, keys: Keys) -> None:
    with pytest.raises(ValidationFailed, match="ROCA, CVE-2017-15361"):
        bring(pem(roca_key()))
    assert keys() == {}
