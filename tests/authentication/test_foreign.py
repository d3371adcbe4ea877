"""The gate for what others sign, whatever bytes come."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.authentication import foreign
from identity.authentication.foreign import Refused
from identity.authentication.key_sets import KeySet
from identity.clock import now
from tests.signing import Signer, key_set, said

SIGNER = Signer("ES256")
AT = now()
TOKEN = SIGNER.sign(said("shop", "https://id.example"))
KEYS = KeySet(key_set(SIGNER))

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ["alg", "typ", "kid", "crit", "b64", "jwk", "iss", "sub", "aud", "exp", "nbf", "iat", "jti"]
members = st.dictionaries(st.sampled_from(NAMES), values)


def claims_of(token: str) -> Any:
    """What the gate makes of it; None where it refuses, in words that a log can hold."""
    try:
        read = foreign.read(token, AT)
        verify = KEYS.find(read.kid, read.alg)
        if verify is None:
            return None
        claims = read.by(verify)
        foreign.check_times(claims, AT, ahead=300)
        foreign.id_of(claims)
        foreign.the_audience(claims)
    except Refused as refusal:
        return None if str(refusal).isprintable() else str(refusal)
    return claims


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_what_was_signed_passes() -> None:
    assert claims_of(TOKEN)["iss"] == "shop"


@given(st.text() | st.binary().map(lambda octets: octets.decode("latin-1")))
def test_whatever_comes_is_refused_and_nothing_else(text: str) -> None:
    assert claims_of(text) is None


@given(members, members)
def test_nothing_passes_that_the_key_did_not_sign(header: Any, claims: Any) -> None:
    signature = TOKEN.rpartition(".")[2]
    good = {"alg": "ES256", "kid": "one"} | header
    try:
        text = f"{encoded(good)}.{encoded(said('shop', 'https://id.example') | claims)}"
    except ValueError:  # a lone surrogate has no encoding
        return
    assert claims_of(f"{text}.{signature}") is None


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.characters(max_codepoint=127))
def test_no_other_spelling_of_it_passes(place: int, character: str) -> None:
    other = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert (claims_of(other) is not None) is (other == TOKEN)


@given(members)
def test_what_the_key_signed_is_taken_only_in_the_right_shape(claims: Any) -> None:
    try:
        token = SIGNER.sign(said("shop", "https://id.example") | claims)
    except Exception:
        return
    found = claims_of(token)
    if found is not None:
        assert type(found["exp"]) in (int, float) and isinstance(found["jti"], str)
        assert isinstance(found["iss"], str) and isinstance(found["sub"], str)


@pytest.mark.parametrize("jwks", [{}, {"keys": None}, {"keys": {}}, {"keys": [{}] * 65}])
def test_what_is_no_key_set_is_refused(jwks: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        KeySet(jwks)


@given(st.lists(values | members, max_size=4))
def test_a_key_set_may_hold_anything(keys: list[Any]) -> None:
    found = KeySet({"keys": [*keys, SIGNER.jwk]})
    for alg in ("ES256", "RS256", "PS256", "EdDSA"):
        assert (found.find("one", alg) is not None) is (alg == "ES256")
