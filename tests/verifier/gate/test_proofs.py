"""Which DPoP proofs are good (RFC 9449 §4.3): none that says anything but this request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier import Refused
from identity.verifier.gate.proofs import HEADERS_KEPT, WINDOW, Proofs, same_address
from identity.verifier.testing.proofs import ProofKey

NOW = 1_700_000_000.0
URL = "https://orders.example/orders"
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"

KEY = ProofKey(clock=lambda: NOW)


def proofs(at: float = NOW) -> Proofs:
    return Proofs(clock=lambda: at)


def refusal(proof: object, method: str = "GET", url: str = URL, token: str | None = TOKEN) -> str:
    """The rule that refuses."""
    with pytest.raises(Refused) as refused:
        proofs().check(proof, method, url, token)
    return refused.value.reason


GOOD: Mapping[str, dict[str, Any]] = {
    "ten seconds late": {"iat": NOW - 10},
    "ten seconds early": {"iat": NOW + 10},
    "a fraction of a second": {"iat": NOW - 0.5},
    "more claims than anybody asked for": {"sub": "me", "aud": ["x"], "odd": {"a": [1]}},
    "times of its own": {"exp": NOW + 60, "nbf": NOW},
    "a query": {"htu": f"{URL}?page=2"},
    "a fragment": {"htu": f"{URL}#top"},
    "both": {"htu": f"{URL}?page=2#top"},
    "a host in capitals": {"htu": "HTTPS://Orders.Example/orders"},
    "a default port": {"htu": "https://orders.example:443/orders"},
    "an empty port": {"htu": "https://orders.example:/orders"},
    "an octet encoded for nothing": {"htu": "https://orders.example/%6Frders"},
    "a nonce of 64 characters": {"nonce": "n" * 64},
    "a nonce of 384 characters": {"nonce": "n" * 384},
}
HEADERS: Mapping[str, dict[str, Any]] = {
    "a key id, which nobody looks up": {"kid": "1"},
    "addresses, which nobody fetches": {"jku": "https://evil.example", "x5u": "https://e.example"},
    "a member that nobody knows": {"odd": True},
}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD)
def test_a_proof_may_be_written_in_several_ways(claims: dict[str, Any]) -> None:
    assert proofs().check(KEY.proof("GET", URL, TOKEN, **claims), "GET", URL, TOKEN)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_a_header_has_besides_is_passed_over(header: dict[str, Any]) -> None:
    assert proofs().check(KEY.proof("GET", URL, TOKEN, header=header), "GET", URL, TOKEN)


BAD: Mapping[str, tuple[dict[str, Any], str]] = {
    "no jti": ({"jti": None}, "jti"),
    "an empty jti": ({"jti": ""}, "jti"),
    "a number for jti": ({"jti": 7}, "jti"),
    "no htm": ({"htm": None}, "htm"),
    "another method": ({"htm": "POST"}, "htm"),
    "the method in small letters": ({"htm": "get"}, "htm"),
    "a list of methods": ({"htm": ["GET"]}, "htm"),
    "no htu": ({"htu": None}, "htu"),
    "a list of addresses": ({"htu": [URL]}, "htu"),
    "a number for htu": ({"htu": 7}, "htu"),
    "an object for htu": ({"htu": {"url": URL}}, "htu"),
    "another path": ({"htu": "https://orders.example/order"}, "htu"),
    "a path in capitals": ({"htu": "https://orders.example/Orders"}, "htu"),
    "a slash more": ({"htu": f"{URL}/"}, "htu"),
    "an encoded slash": ({"htu": "https://orders.example/%2Forders"}, "htu"),
    "dots": ({"htu": "https://orders.example/x/../orders"}, "htu"),
    "a semicolon": ({"htu": "https://orders.example/..;/orders"}, "htu"),
    "another host": ({"htu": "https://evil.example/orders"}, "htu"),
    "a longer host": ({"htu": "https://orders.example.evil/orders"}, "htu"),
    "another port": ({"htu": "https://orders.example:8443/orders"}, "htu"),
    "another scheme": ({"htu": "http://orders.example/orders"}, "htu"),
    "the other scheme's port": ({"htu": "http://orders.example:443/orders"}, "htu"),
    "a user": ({"htu": "https://orders.example@evil.example/orders"}, "htu"),
    "a user of ours": ({"htu": "https://evil@orders.example/orders"}, "htu"),
    "a backslash": ({"htu": "https://evil.example\\@orders.example/orders"}, "htu"),
    "a path alone": ({"htu": "/orders"}, "htu"),
    "a tab": ({"htu": "https://orders.example/ord\ters"}, "htu"),
    "a space before": ({"htu": f" {URL}"}, "htu"),
    "an IDN": ({"htu": "https://order\u017f.example/orders"}, "htu"),
    "nothing": ({"htu": ""}, "htu"),
    "no iat": ({"iat": None}, "iat"),
    "an hour ago": ({"iat": NOW - 3600}, "iat"),
    "in an hour": ({"iat": NOW + 3600}, "iat"),
    "a text for iat": ({"iat": str(int(NOW))}, "iat"),
    "a truth for iat": ({"iat": True}, "iat"),
    "endless": ({"iat": 10**400}, "iat"),
    "expired": ({"exp": NOW - 3600}, "exp"),
    "not yet valid": ({"nbf": NOW + 3600}, "nbf"),
    "no ath": ({"ath": None}, "ath"),
    "another token's ath": (
        {"ath": base64.urlsafe_b64encode(sha256(b"other").digest()).rstrip(b"=").decode()}, "ath",
    ),
    "a padded ath": (
        {"ath": base64.urlsafe_b64encode(sha256(TOKEN.encode()).digest()).decode()}, "ath",
    ),
    "a hexadecimal ath": ({"ath": sha256(TOKEN.encode()).hexdigest()}, "ath"),
    "the token for ath": ({"ath": TOKEN}, "ath"),
    "a number for nonce": ({"nonce": 7}, "nonce"),
}  # fmt: skip


@pytest.mark.parametrize(("claims", "rule"), BAD.values(), ids=BAD)
def test_a_proof_of_anything_else_is_refused(claims: dict[str, Any], rule: str) -> None:
    assert refusal(KEY.proof("GET", URL, TOKEN, **claims)) == rule


OTHER = ProofKey()
PRIVATE = {"d": "AAAA"}
BAD_HEADERS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no typ": ({"typ": None}, "header.typ"),
    "of an access token": ({"typ": "at+jwt"}, "header.typ"),
    "of any JWT": ({"typ": "JWT"}, "header.typ"),
    "of a media type": ({"typ": "application/dpop+jwt"}, "header.typ"),
    "in capitals": ({"typ": "DPoP+jwt"}, "header.typ"),
    "a list for typ": ({"typ": ["dpop+jwt"]}, "header.typ"),
    "no alg": ({"alg": None}, "header.alg"),
    "none": ({"alg": "none"}, "header.alg"),
    "symmetric": ({"alg": "HS256"}, "header.alg"),
    "one that nobody has": ({"alg": "ES257"}, "header.alg"),
    "a list of algorithms": ({"alg": ["ES256"]}, "header.alg"),
    "another algorithm than the key's": ({"alg": "RS256"}, "header.jwk"),
    "another curve's algorithm": ({"alg": "EdDSA"}, "header.jwk"),
    "critical": ({"crit": ["exp"], "exp": 1}, "header.crit"),
    "unencoded": ({"crit": ["b64"], "b64": False}, "header.crit"),
    "no key": ({"jwk": None}, "header.jwk"),
    "a text for a key": ({"jwk": json.dumps(KEY.jwk)}, "header.jwk"),
    "a list of keys": ({"jwk": [KEY.jwk]}, "header.jwk"),
    "an empty key": ({"jwk": {}}, "header.jwk"),
    "a private key": ({"jwk": KEY.jwk | PRIVATE}, "header.jwk"),
    "a secret": ({"jwk": {"kty": "oct", "k": "AAAA"}}, "header.jwk"),
    "a secret beside a key": ({"jwk": KEY.jwk | {"k": "AAAA"}}, "header.jwk"),
    "a key for encryption": ({"jwk": KEY.jwk | {"use": "enc"}}, "header.jwk"),
    "a key for another algorithm": ({"jwk": KEY.jwk | {"alg": "ES384"}}, "header.jwk"),
    "another curve": ({"jwk": KEY.jwk | {"crv": "P-384"}}, "header.jwk"),
    "no point": ({"jwk": KEY.jwk | {"y": KEY.jwk["x"]}}, "header.jwk"),
    "half a point": ({"jwk": {k: v for k, v in KEY.jwk.items() if k != "y"}}, "header.jwk"),
    "a weak key": ({"alg": "RS256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, "header.jwk"),
    "somebody else's key": ({"jwk": OTHER.jwk}, "signature"),
}


@pytest.mark.parametrize(("header", "rule"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_proof_under_another_header_is_refused(header: dict[str, Any], rule: str) -> None:
    assert refusal(KEY.proof("GET", URL, TOKEN, header=header)) == rule


def test_what_is_no_jwt_is_refused_by_the_same_error() -> None:
    good = KEY.proof("GET", URL, TOKEN)
    head, payload, signature = good.split(".")
    odd: list[object] = [
        None, 7, "", ".", "..", "...", "a.b", good + ".", good + "=", f"{good}, {good}", good[:-4],
        f"{head}.{payload}.", f"{head}..{signature}", f".{payload}.{signature}",
        good.replace(".", "", 1), "\ud800", "é" + good, good + "\n", "x" * 9000,
        f"{head}.{payload}.{signature}.{signature}.{signature}", json.dumps({"payload": payload}),
    ]  # fmt: skip
    for each in odd:
        assert refusal(each) in {"proof", "segments", "header", "signature"}, each
    for text in ('{"jti":"a","jti":"b"}', "[]", "{", '{"a":NaN}', '"\\ud800"'):
        spoilt = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
        signed = KEY.sign({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.jwk}, {})
        assert refusal(".".join([signed.split(".")[0], spoilt, signature])) == "signature"


def test_an_endpoint_that_gets_no_token_asks_for_no_ath() -> None:
    assert proofs().check(KEY.proof("POST", URL), "POST", URL)
    assert proofs().check(KEY.proof("POST", URL, "any"), "POST", URL)


def test_a_proof_is_good_within_its_minute_and_says_until_when() -> None:
    proof = KEY.proof("GET", URL, TOKEN)
    for at in (NOW - WINDOW, NOW + WINDOW):
        assert proofs(at).check(proof, "GET", URL, TOKEN).until == NOW + WINDOW
    for at in (NOW - WINDOW - 1, NOW + WINDOW + 1):
        with pytest.raises(Refused, match="iat"):
            proofs(at).check(proof, "GET", URL, TOKEN)


def test_keys_are_remembered_by_their_headers_and_only_good_ones() -> None:
    remembering = proofs()
    for _ in range(2):
        assert remembering.check(KEY.proof("GET", URL, TOKEN), "GET", URL, TOKEN)
    head, payload, _ = OTHER.proof("GET", URL, TOKEN, iat=int(NOW)).split(".")
    stolen = f"{head}.{payload}.{KEY.proof('GET', URL).split('.')[2]}"
    for _ in range(2):
        with pytest.raises(Refused, match="signature"):
            remembering.check(stolen, "GET", URL, TOKEN)
    assert len(remembering._keys) == 1
    for n in range(HEADERS_KEPT):
        remembering.check(KEY.proof("GET", URL, header={"n": n}), "GET", URL)
    assert len(remembering._keys) <= HEADERS_KEPT
    before = len(remembering._keys)
    remembering.check(KEY.proof("GET", URL, header={"x": "y" * 2000}), "GET", URL)
    assert len(remembering._keys) == before
    assert remembering.check(KEY.proof("GET", URL, TOKEN), "GET", URL, TOKEN).jkt == KEY.jkt


@given(st.text() | st.binary())
def test_whatever_comes_is_refused_and_nothing_else(proof: str | bytes) -> None:
    with pytest.raises(Refused):
        proofs().check(proof, "GET", URL, TOKEN)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_MEMBERS = ["typ", "alg", "jwk", "crit", "kid"]
_CLAIMS = ["jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf"]


@given(
    st.dictionaries(st.sampled_from(_MEMBERS), _JSON),
    st.dictionaries(st.sampled_from(_CLAIMS), _JSON),
)
def test_whatever_a_signed_proof_says_it_is_good_or_refused(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    made = KEY.proof("GET", URL, TOKEN, header=header, **claims)
    try:
        proof = proofs().check(made, "GET", URL, TOKEN)
    except Refused:
        return
    said = {"jti": None, "nonce": None} | claims
    assert not header.keys() & {"typ", "alg", "jwk", "crit"} or None in header.values()
    assert said["nonce"] in (None, proof.nonce) and said["jti"] in (None, proof.jti)


@given(st.text(max_size=40))
def test_no_other_address_is_taken_for_ours(text: str) -> None:
    assert not same_address(text, URL)
    assert same_address(f"{URL}?{text}", URL)


def test_paths_are_compared_as_they_are_but_for_what_need_not_be_encoded() -> None:
    ours = "http://[::1]:8000/users/a%2Fb%C3%A9"
    assert same_address("http://[::1]:8000/users/%61%2fb%c3%A9", ours)
    assert not same_address("http://[::1]:8000/users/a/b%C3%A9", ours)
    assert same_address("https://orders.example", "https://orders.example/")
    assert not same_address("http://orders.example:99999", "http://orders.example:9999")
