"""The registry of algorithms, against the RFCs' own examples and independent libraries."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from jose import jwk as jose_jwk
from jose.backends import ECKey
from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from identity.verifier.gate.algorithms import ALGORITHMS, _der
from identity.verifier.gate.jwk import thumbprint
from tests.verifier.forger import b64, unb64
from tests.verifier.roca import roca_key
from tests.verifier.sample import private_key


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
    signature = algorithm.signer(private)(b"message")
    for public in (private.public_key(), algorithm.jwk(private.public_key())):
        verifier = algorithm.verifier(public)
        assert verifier(b"message", signature) is True
        assert verifier(b"another", signature) is False
        assert verifier(b"message", signature[:-1]) is False
        assert verifier(b"message", b"") is False


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_generated_rsa_keys_have_3072_bits(alg: str) -> None:
    private = ALGORITHMS[alg].generate()
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 3072


def compact(alg: str, payload: bytes) -> bytes:
    """What a JWS of `payload` signs."""
    return b64(json.dumps({"alg": alg}).encode()).encode() + b"." + b64(payload).encode()


def test_other_libraries_read_the_jwk_and_agree_on_the_signature(alg: str) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    jwk = algorithm.jwk(private.public_key())
    signed = compact(alg, b'{"a":1}')
    token = f"{signed.decode()}.{b64(algorithm.signer(private)(signed))}"
    assert pyjwt.decode(token, pyjwt.PyJWK(jwk), algorithms=[alg]) == {"a": 1}
    assert import_key(dict(jwk)).thumbprint() == jwk["kid"] == thumbprint(jwk)


def python_jose(alg: str) -> Any:
    """Its own key of our private one; PS256 and EdDSA it does not have."""
    key = private_key(alg)
    return ECKey(key, alg) if alg == "ES256" else jose_jwk.construct(key, alg)


@given(payload=st.binary(max_size=100), cut=st.integers(0, 600), flip=st.integers(1, 255))
@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA"])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_python_jose_and_joserfc_agree_on_every_signature(
    alg: str, payload: bytes, cut: int, flip: int
) -> None:
    algorithm, private = ALGORITHMS[alg], private_key(alg)
    verify = algorithm.verifier(private.public_key())
    theirs = import_key(dict(algorithm.jwk(private)))
    message = compact(alg, payload)
    signature = algorithm.signer(private)(message)
    at = cut % len(signature)
    for candidate in (
        signature,
        signature[:at] + bytes([signature[at] ^ flip]) + signature[at + 1 :],
        signature[:at],
        signature + bytes([flip]),
        b"\0" + signature,
    ):
        good = candidate == signature
        assert verify(message, candidate) is good
        token = f"{message.decode()}.{b64(candidate)}"
        try:
            joserfc_jws.deserialize_compact(token, theirs, algorithms=[alg])
            taken = True
        except (JoseError, ValueError):
            taken = False
        assert taken is good
        if alg in ("ES256", "RS256"):
            assert python_jose(alg).public_key().verify(message, candidate) is good
    if alg in ("ES256", "RS256"):
        assert verify(message, python_jose(alg).sign(message)) is True


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("spoil", [
    lambda r, s: (0, s), lambda r, s: (r, 0), lambda r, s: (0, 0), lambda r, s: (_ORDER, s),
    lambda r, s: (r, _ORDER), lambda r, s: (2**256 - 1, s), lambda r, s: (r + _ORDER, s),
    lambda r, s: (r, s + _ORDER),
])  # fmt: skip
def test_the_integers_of_an_ecdsa_signature_lie_within_the_order(spoil: Any) -> None:
    """FIPS 186-4 §6.4; zero was CVE-2022-21449."""
    private = private_key("ES256")
    signature = ALGORITHMS["ES256"].signer(private)(b"m")
    r, s = spoil(*(int.from_bytes(half, "big") for half in (signature[:32], signature[32:])))
    forged = (r % 2**256).to_bytes(32, "big") + (s % 2**256).to_bytes(32, "big")
    assert not ALGORITHMS["ES256"].verifier(private.public_key())(b"m", forged)


@given(*[st.integers(1, 2**256 - 1) | st.integers(0, 255).map(lambda n: 1 << n)] * 2)
def test_an_ecdsa_signature_is_spelled_for_openssl_as_cryptography_spells_it(
    r: int, s: int
) -> None:
    assert _der(r.to_bytes(32, "big"), s.to_bytes(32, "big")) == encode_dss_signature(r, s)


@given(message=st.binary(max_size=50), signature=st.binary(max_size=600))
@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA"])
def test_whatever_octets_come_the_answer_is_no(alg: str, message: bytes, signature: bytes) -> None:
    verify = ALGORITHMS[alg].verifier(private_key(alg).public_key())
    assert verify(message, signature) is False
    assert verify(message, signature[:1] * 64) is False
    assert verify(message, signature[:1] * 384) is False


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
    signature = ALGORITHMS["EdDSA"].signer(private)(signed)
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
    assert ALGORITHMS["ES256"].verifier(jwk)(signed, signature)


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
    ("PS256", lambda: dsa.generate_private_key(1024), "RSA key"),
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
    signature = ALGORITHMS[alg].signer(private)(b"m")
    assert ALGORITHMS[alg].verifier(private.public_key())(b"m", signature)


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
        {"p": "AA"},
        {"qi": None},
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


@pytest.mark.parametrize("name", ["n", "e"])
def test_rsa_integers_have_no_leading_zeros(name: str) -> None:
    """RFC 7518 §6.3.1.1."""
    jwk = ALGORITHMS["RS256"].jwk(private_key("RS256").public_key())
    with pytest.raises(ValueError, match="leading zeros"):
        ALGORITHMS["RS256"].verifier({**jwk, name: b64(b"\0" + unb64(jwk[name]))})


def test_rs256_and_ps256_signatures_are_not_taken_for_each_other() -> None:
    private = private_key("RS256")
    for mine, other in (("RS256", "PS256"), ("PS256", "RS256")):
        signature = ALGORITHMS[mine].signer(private)(b"m")
        assert not ALGORITHMS[other].verifier(private.public_key())(b"m", signature)


@pytest.mark.parametrize("salt", [0, 20, 64])
def test_ps256_takes_only_a_salt_as_long_as_the_hash(salt: int) -> None:
    """RFC 7518 §3.5."""
    private = private_key("PS256")
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
    signature = private.sign(b"m", pss, hashes.SHA256())
    assert not ALGORITHMS["PS256"].verifier(private.public_key())(b"m", signature)
