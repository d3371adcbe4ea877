"""The registry of algorithms, against the RFCs' own examples and independent libraries."""

from __future__ import annotations

import base64
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from jose import jws
from jose.exceptions import JWSError
from joserfc.jwk import import_key

from identity.verifier.algorithms import ALGORITHMS, thumbprint
from tests.verifier.forger import b64, unb64
from tests.verifier.issuer import private_key
from tests.verifier.roca import roca_key


@pytest.fixture(params=ALGORITHMS)
def alg(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_es256_comes_first_and_so_is_the_default() -> None:
    assert list(ALGORITHMS) == ["ES256", "RS256", "PS256", "EdDSA"]
    assert repr(ALGORITHMS["ES256"]) == "<Algorithm ES256>"


def test_a_generated_key_fits_signs_and_verifies(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    algorithm.check(private)
    algorithm.check(private.public_key())
    signature = algorithm.signer(private).sign(b"message")
    for public in (private.public_key(), algorithm.jwk(private.public_key())):
        verifier = algorithm.verifier(public)
        assert verifier.verify(b"message", signature) is True
        assert verifier.verify(b"another", signature) is False
        assert verifier.verify(b"message", signature[:-1]) is False
        assert verifier.verify(b"message", b"") is False


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_generated_rsa_keys_have_3072_bits(alg: str) -> None:
    private = private_key(alg)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 3072


def test_python_jose_itself_knows_every_algorithm(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    for signing in (algorithm.signer(private), private):
        token = jws.sign(b"payload", signing, algorithm=alg)
        assert jws.verify(token, algorithm.verifier(private.public_key()), [alg]) == b"payload"
    # A private key verifies too, as python-jose's own do.
    if alg in {"PS256", "EdDSA"}:
        assert jws.verify(token, algorithm.signer(private), [alg]) == b"payload"


def test_other_libraries_read_the_jwk_and_agree_on_the_signature(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    jwk = algorithm.jwk(private.public_key())
    token = jws.sign({"a": 1}, algorithm.signer(private), algorithm=alg)
    assert pyjwt.decode(token, pyjwt.PyJWK(jwk), algorithms=[alg]) == {"a": 1}
    assert import_key(dict(jwk)).thumbprint() == jwk["kid"] == thumbprint(jwk)


def test_a_jwk_says_what_it_is_for_and_keeps_the_private_half_to_itself(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    jwk = algorithm.jwk(private.public_key(), "my-kid")
    assert (jwk["use"], jwk["alg"], jwk["kid"]) == ("sig", alg, "my-kid")
    assert algorithm.jwk(private, "my-kid") == jwk
    assert not jwk.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}


def test_coordinates_keep_their_leading_zeros() -> None:
    """RFC 7518 §6.2.1.2: 32 octets, always; one key in 128 would lose one."""
    secret = next(
        secret
        for secret in range(1, 5000)
        if ec.derive_private_key(secret, ec.SECP256R1()).public_key().public_numbers().x >> 248 == 0
    )
    private = ec.derive_private_key(secret, ec.SECP256R1())
    jwk = ALGORITHMS["ES256"].jwk(private.public_key())
    assert len(jwk["x"]) == len(jwk["y"]) == 43
    assert jwk["x"].startswith("A")
    ALGORITHMS["ES256"].verifier(jwk)
    shortened = b64(unb64(jwk["x"]).lstrip(b"\0"))
    with pytest.raises(ValueError, match="x has the wrong length"):
        ALGORITHMS["ES256"].verifier({**jwk, "x": shortened})


def test_the_rfc_8037_example_has_its_signature_and_its_thumbprint() -> None:
    """RFC 8037 appendices A.1 to A.4."""
    secret = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    jwk = ALGORITHMS["EdDSA"].jwk(private.public_key())
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = ALGORITHMS["EdDSA"].signer(private).sign(signed)
    assert base64.urlsafe_b64encode(signature).rstrip(b"=") == (
        b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )


def test_the_rfc_7515_example_verifies() -> None:
    """RFC 7515 appendix A.3: ES256."""
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    signed = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        b"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = base64.urlsafe_b64decode(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q=="
    )
    assert ALGORITHMS["ES256"].verifier(jwk).verify(signed, signature)


def _rsa(bits: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


UNFIT: list[tuple[str, Any, str]] = [
    ("ES256", lambda: ec.generate_private_key(ec.SECP384R1()), "P-256, not on secp384r1"),
    ("ES256", lambda: ec.generate_private_key(ec.SECP256K1()), "P-256, not on secp256k1"),
    ("ES256", ed25519.Ed25519PrivateKey.generate, "elliptic curve key"),
    ("RS256", lambda: _rsa(1024), "2048 to 8192 bits, not 1024"),
    ("RS256", lambda: _rsa(2048, 3), "public exponent"),
    ("PS256", lambda: _rsa(1024), "2048 to 8192 bits, not 1024"),
    ("RS256", roca_key, "ROCA"),
    ("PS256", roca_key, "ROCA"),
    ("PS256", lambda: dsa.generate_private_key(2048), "RSA key"),
    ("EdDSA", ed448.Ed448PrivateKey.generate, "Ed25519 key"),
    ("EdDSA", lambda: "-----BEGIN PUBLIC KEY-----", "Ed25519 key"),
    ("RS256", lambda: None, "RSA key"),
]


@pytest.mark.parametrize(("alg", "make", "words"), UNFIT)
def test_an_unfit_key_is_refused_with_a_sentence(alg: str, make: Any, words: str) -> None:
    key = make()
    public = key.public_key() if hasattr(key, "public_key") else key
    for act, given_key in (
        (ALGORITHMS[alg].check, key),
        (ALGORITHMS[alg].check, public),
        (ALGORITHMS[alg].signer, key),
        (ALGORITHMS[alg].verifier, public),
        (ALGORITHMS[alg].jwk, public),
    ):
        with pytest.raises(ValueError, match=words):
            act(given_key)


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_rsa_keys_brought_along_may_have_2048_bits(alg: str) -> None:
    private = _rsa(2048)
    signature = ALGORITHMS[alg].signer(private).sign(b"m")
    assert ALGORITHMS[alg].verifier(private.public_key()).verify(b"m", signature)


def test_the_halves_are_not_taken_for_each_other(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    with pytest.raises(ValueError, match="signs with a private key"):
        algorithm.signer(private.public_key())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="verifies with a public key"):
        algorithm.verifier(private)  # type: ignore[arg-type]


def test_a_jwk_for_something_else_is_refused(alg: str) -> None:
    algorithm = ALGORITHMS[alg]
    jwk = algorithm.jwk(private_key(alg).public_key())
    other = "RS256" if alg != "RS256" else "ES256"
    spoiled: list[dict[str, Any]] = [
        {"alg": other},
        {"alg": None},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "AA"},
        {"k": "AA"},
        {"kty": "oct"},
        {"kty": None},
    ]
    for members in spoiled:
        with pytest.raises(ValueError, match="JWK"):
            algorithm.verifier({**jwk, **members})
    assert algorithm.verifier({**jwk, "key_ops": ["verify"]})
    assert algorithm.verifier({n: jwk[n] for n in jwk if n not in {"alg", "use", "kid"}})


def test_a_malformed_jwk_is_refused(alg: str) -> None:
    algorithm = ALGORITHMS[alg]
    jwk = algorithm.jwk(private_key(alg).public_key())
    for name in set(jwk) - {"kty", "use", "alg", "kid", "crv"}:
        value = jwk[name]
        for bad in (
            None,
            1,
            [],
            "",
            value + "=",
            value + "!",
            "\u212a",
            "A",
            "AAA" + value[3:] + "A",
        ):
            with pytest.raises(ValueError, match=r"\w"):
                algorithm.verifier({**jwk, name: bad})
    if "crv" in jwk:
        with pytest.raises(ValueError, match="crv"):
            algorithm.verifier({**jwk, "crv": "P-384"})


def test_a_point_off_the_curve_is_refused() -> None:
    jwk = ALGORITHMS["ES256"].jwk(private_key("ES256").public_key())
    with pytest.raises(ValueError, match="curve"):
        ALGORITHMS["ES256"].verifier({**jwk, "x": jwk["y"], "y": jwk["x"]})


def test_rsa_integers_have_no_leading_zeros() -> None:
    """RFC 7518 §6.3.1.1."""
    jwk = ALGORITHMS["RS256"].jwk(private_key("RS256").public_key())
    with pytest.raises(ValueError, match="leading zeros"):
        ALGORITHMS["RS256"].verifier({**jwk, "e": "AAEAAQ"})


def test_rs256_and_ps256_signatures_are_not_taken_for_each_other() -> None:
    private = private_key("RS256")
    for mine, other in (("RS256", "PS256"), ("PS256", "RS256")):
        signature = ALGORITHMS[mine].signer(private).sign(b"m")
        assert not ALGORITHMS[other].verifier(private.public_key()).verify(b"m", signature)


@pytest.mark.parametrize("salt", [0, 20, 64])
def test_ps256_takes_only_a_salt_as_long_as_the_hash(salt: int) -> None:
    """RFC 7518 §3.5."""
    private = private_key("PS256")
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
    signature = private.sign(b"m", pss, hashes.SHA256())
    assert not ALGORITHMS["PS256"].verifier(private.public_key()).verify(b"m", signature)


@pytest.mark.parametrize(("alg", "key"), [("PS256", "PEM"), ("EdDSA", b"\0" * 32)])
def test_python_jose_gets_key_objects_for_what_we_added(alg: str, key: Any) -> None:
    with pytest.raises(JWSError, match="key objects"):
        jws.sign(b"payload", key, algorithm=alg)
