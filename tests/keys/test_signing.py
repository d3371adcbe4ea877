from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jose import jws
from jose import jwt as python_jose
from jose.exceptions import JWSError

from identity.keys.josekeys import RowKey
from identity.keys.signing import Signer
from identity.verifier.gate.algorithms import ALGORITHMS, PrivateKey

CLAIMS = {"iss": "https://issuer.example", "sub": "zoë", "exp": 4102444800, "scope": "a b"}


def fast_key(algorithm: str) -> PrivateKey:
    if algorithm in ("RS256", "PS256"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ALGORITHMS[algorithm].generate()


@pytest.fixture(scope="module", params=list(ALGORITHMS))
def pair(request: pytest.FixtureRequest) -> tuple[Signer, dict[str, Any]]:
    algorithm = request.param
    key = fast_key(algorithm)
    jwk = ALGORITHMS[algorithm].jwk(key)
    return Signer(jwk["kid"], algorithm, key), jwk


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_three_libraries_accept_what_is_signed(pair: tuple[Signer, dict[str, Any]]) -> None:
    signer, jwk = pair
    token = signer.sign(CLAIMS)
    header = {"alg": signer.algorithm, "typ": "at+jwt", "kid": signer.kid}

    assert pyjwt.decode(token, pyjwt.PyJWK(jwk), algorithms=[signer.algorithm]) == CLAIMS
    assert pyjwt.get_unverified_header(token) == header
    decoded = joserfc.jwt.decode(token, joserfc.jwk.import_key(jwk), algorithms=[signer.algorithm])
    assert (decoded.claims, decoded.header) == (CLAIMS, header)
    if signer.algorithm in ("ES256", "RS256"):  # the others it does not have
        assert python_jose.decode(token, jwk, algorithms=[signer.algorithm]) == CLAIMS


def test_python_jose_itself_knows_every_algorithm(pair: tuple[Signer, dict[str, Any]]) -> None:
    alg = pair[0].algorithm
    private = fast_key(alg)
    token = jws.sign(b"payload", private, algorithm=alg)
    assert jws.verify(token, private.public_key(), [alg]) == b"payload"
    if alg in ("PS256", "EdDSA"):  # a private key verifies too, as python-jose's own do
        assert jws.verify(token, private, [alg]) == b"payload"
        assert RowKey(private, alg).public_key().is_public()


@pytest.mark.parametrize(("alg", "key"), [("PS256", "PEM"), ("EdDSA", b"\0" * 32)])
def test_python_jose_gets_key_objects_for_what_we_added(alg: str, key: Any) -> None:
    with pytest.raises(JWSError, match="as a key object"):
        jws.sign(b"payload", key, algorithm=alg)


def test_the_type_is_the_callers(pair: tuple[Signer, dict[str, Any]]) -> None:
    signer, _ = pair
    for typ in ("token-introspection+jwt", "at+jwt", "token-introspection+jwt"):
        assert pyjwt.get_unverified_header(signer.sign(CLAIMS, typ=typ))["typ"] == typ


@given(st.binary(max_size=64))
def test_every_es256_signature_verifies_whatever_its_leading_zeros(message: bytes) -> None:
    key = ALGORITHMS["ES256"].generate()
    signature = Signer("kid", "ES256", key)._sign(message)
    assert len(signature) == 64
    assert ALGORITHMS["ES256"].verifier(key.public_key())(message, signature)


def test_a_signer_shows_no_secret(pair: tuple[Signer, dict[str, Any]]) -> None:
    signer, _ = pair
    assert repr(signer) == f"<Signer {signer.algorithm} {signer.kid}>"


@pytest.mark.parametrize("claims", [{"sub": "\ud800"}, {"n": 1 << 64}, {"x": object()}])
def test_what_is_not_json_is_not_signed(claims: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Signer("kid", "ES256", fast_key("ES256")).sign(claims)
