"""The gate against PyJWT and joserfc on mutated tokens.

What the gate takes, both take. What the gate refuses though one of them would take it, it refuses
by one of its own stricter rules, and the token really is what that rule is about.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from identity.verifier import Refused
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import MAX_DEPTH
from tests.verifier import forge
from tests.verifier.forger import GONE, b64, unb64
from tests.verifier.gate.oracles import joserfc_accepts, lenient, pyjwt_accepts
from tests.verifier.sample import AUDIENCE, CLAIMS, ISSUER, NOW, every_attack, forger, gate, kid_of

GATE = gate()
BOM = "\ufeff".encode()
QUICK = ["ES256", "EdDSA"]


class Seen:
    """A token as a lax reader sees it."""

    def __init__(self, token: str | bytes) -> None:
        self.text = token.decode("latin-1") if isinstance(token, bytes) else token
        self.header, self.claims = lenient(token)
        self.raw = [unb64(segment) for segment in self.text.split(".")[:2]]

    def canonical(self) -> bool:
        return all(b64(unb64(segment)) == segment for segment in self.text.split("."))

    def not_a_string(self, name: str) -> bool:
        value = self.claims.get(name, "absent")
        return not isinstance(value, str) or value == ""

    def odd_time(self, name: str) -> bool:
        value = self.claims[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True  # PyJWT takes True and "1"
        # At the edges PyJWT drops the fraction.
        return not 0 <= value <= 253402300799 or value != math.floor(value)


def _is_odd_json(octets: bytes) -> bool:
    """Duplicates, constants that are not JSON, infinite numbers, lone surrogates, depth, UTF-16
    and byte order marks: what the standard library reads all the same."""
    odd = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal odd
        odd |= len({name for name, _ in members}) != len(members)
        return dict(members)

    value = json.loads(octets, object_pairs_hook=pairs)
    if _levels(value) > MAX_DEPTH:
        return True
    try:
        octets.decode("utf-8")
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return True
    return odd or b"\0" in octets or octets.startswith(BOM)


def _levels(value: Any) -> int:
    levels, layer = 0, [value]
    while layer := [inner for inner in layer if isinstance(inner, dict | list)]:
        levels += 1
        layer = [
            member
            for inner in layer
            for member in (inner.values() if isinstance(inner, dict) else inner)
        ]
    return levels


def _scope_is_odd(scope: Any) -> bool:
    if not isinstance(scope, str):
        return True
    letters = set(scope) - {chr(code) for code in range(0x20, 0x7F)}
    return bool(letters or set(scope) & set('"\\')) or scope.split(" ") != scope.split()


def _act_is_odd(act: Any) -> bool:
    if not isinstance(act, dict) or not isinstance(act.get("sub"), str) or not act["sub"]:
        return True
    return "act" in act and _act_is_odd(act["act"])


def _says_what_it_is_bound_to(cnf: Any) -> bool:
    """Digests of SHA-256, in base64url (RFC 7638, RFC 8705 §3.1)."""
    return (
        isinstance(cnf, dict)
        and bool(cnf)
        and cnf.keys() <= {"jkt", "x5t#S256"}
        and all(
            isinstance(it, str) and re.fullmatch("[A-Za-z0-9_-]{43}", it) for it in cnf.values()
        )
    )


ACCESS_TOKEN = ("at+jwt", "application/at+jwt")
STRICTER: dict[str, Callable[[Seen], bool]] = {
    "token": lambda seen: len(seen.text) > 8192 or not seen.text.isascii(),
    "segments": lambda seen: not seen.canonical(),
    "header": lambda seen: _is_odd_json(seen.raw[0]),
    "header.members": lambda seen: seen.header.keys() != {"alg", "typ", "kid"},
    "header.typ": lambda seen: (
        str(seen.header["typ"]).lower() not in ("at+jwt", "application/at+jwt")
    ),
    "key.alg": lambda seen: seen.header["kid"] != kid_of(seen.header["alg"]),
    "payload": lambda seen: _is_odd_json(seen.raw[1]),
    "aud": lambda seen: isinstance(seen.claims["aud"], list) and "" in seen.claims["aud"],
    "exp": lambda seen: seen.odd_time("exp"),
    "iat": lambda seen: seen.odd_time("iat"),
    "nbf": lambda seen: seen.odd_time("nbf"),
    "sub": lambda seen: seen.not_a_string("sub"),
    "client_id": lambda seen: seen.not_a_string("client_id"),
    "jti": lambda seen: seen.not_a_string("jti"),
    "scope": lambda seen: _scope_is_odd(seen.claims["scope"]),
    "sid": lambda seen: seen.not_a_string("sid"),
    "username": lambda seen: seen.not_a_string("username"),
    "roles": lambda seen: (
        not isinstance(seen.claims["roles"], list)
        or not all(isinstance(role, str) and role for role in seen.claims["roles"])
    ),
    "act": lambda seen: _act_is_odd(seen.claims["act"]),
    "cnf": lambda seen: not _says_what_it_is_bound_to(seen.claims["cnf"]),
}
"""Rules by which the gate may be alone in refusing, each with what it has to be about."""


def compare(token: str | bytes) -> str | None:
    """The gate's reason, None where it accepts; fails on a difference that nothing explains."""
    takers = [take.__name__ for take in (pyjwt_accepts, joserfc_accepts) if take(token)]
    reason = None
    try:
        GATE.check(token)
    except Refused as refused:
        reason = refused.reason
    if reason is None:
        assert takers == ["pyjwt_accepts", "joserfc_accepts"], "the gate is the laxer one"
    elif takers:
        assert reason in STRICTER, f"{reason} is no stricter rule, but {takers}"
        assert STRICTER[reason](Seen(token)), f"{reason} does not explain {takers}"
    return reason


EDGES = st.sampled_from(
    [0, 1, -1, NOW - 1, NOW, NOW + 1, NOW + 60, NOW - 60, 253402300799, 253402300800, 1e300, 10**40]
)
KIDS = [kid_of(alg) for alg in ALGORITHMS]
WORDS = ["a", "a b", "a  b", " a", "a\tb", 'a"', "", "é", "\U0001f600", "a\0", str(NOW + 60)]
TYPES = ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "none", "HS256"]
STRINGS = st.sampled_from([ISSUER, AUDIENCE, *KIDS, *ALGORITHMS, *WORDS, *TYPES])
SCALARS = st.none() | st.booleans() | EDGES | STRINGS | st.integers() | st.floats(-1e308, 1e308)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=2),
    max_leaves=5,
)
CHANGES = VALUES | st.just(GONE)
HEADER_NAMES = st.sampled_from(
    ["alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5c", "x5t", "zip", "cty", "enc", "x"]
)
CLAIM_NAMES = st.sampled_from([*CLAIMS, "x", "act", "auth_time", "cnf"])
CONSTANTS = ["NaN", "Infinity", "-Infinity", "true", "'a'", "{}", "[]]"]
NUMBERS = ["1e999", "-0", "-0.0", "1E2", "01", "1.", "0.5e-400", f"{NOW + 60}.0", f"{NOW + 60}e0"]
DIGITS = ["9" * 4000, "9" * 5000, "1" + "0" * 400]
LETTERS = [r'"\ud800"', r'"\ud83d\ude00"', r'"\udc00\ud800"', '"\u2028"', '"\t"']
NESTED = ['{"a":1,"a":1}', r'{"a":1,"\u0061":1}', *("[" * n + "]" * n for n in (7, 8, 20))]
RAW = st.sampled_from([*CONSTANTS, *NUMBERS, *DIGITS, *LETTERS, *NESTED])
PIECES = st.sampled_from(list('"\\{}[],: \n\0\ufeff1e')) | st.text(max_size=3)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_all_take_a_good_token(alg: str) -> None:
    assert compare(forger(alg).token()) is None
    if alg == "ES256":
        assert compare(forge.malleated(forger(alg).token())) is None


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_known_attack_is_explained(alg: str) -> None:
    for _, token in every_attack(alg):
        assert compare(token) is not None


@given(st.sampled_from(QUICK), st.dictionaries(CLAIM_NAMES, CHANGES, max_size=3))
@example("EdDSA", {"exp": True})
@example("EdDSA", {"exp": str(NOW + 60)})
@example("EdDSA", {"aud": [AUDIENCE, ""]})
@example("EdDSA", {"nbf": GONE, "scope": GONE, "sid": GONE, "username": GONE, "roles": GONE})
@example("EdDSA", {"aud": ["x", AUDIENCE], "exp": NOW + 1.5})
@example("EdDSA", {"act": {"sub": "a", "act": {"sub": "b", "iss": "https://x"}}})
def test_differences_on_signed_claims_are_explained(alg: str, changes: dict[str, Any]) -> None:
    compare(forger(alg).with_claims(**changes))


@given(st.sampled_from(list(ALGORITHMS)), st.dictionaries(HEADER_NAMES, CHANGES, max_size=2))
@example("EdDSA", {"x": 1})
@example("EdDSA", {"typ": "JWT"})
@example("EdDSA", {"typ": "APPLICATION/AT+JWT"})
@example("RS256", {"alg": "PS256"})
@example("PS256", {"kid": kid_of("RS256"), "alg": "RS256"})
def test_differences_on_signed_headers_are_explained(alg: str, changes: dict[str, Any]) -> None:
    compare(forger(alg).with_header(**changes))


@given(CLAIM_NAMES, RAW)
def test_differences_on_signed_raw_json_are_explained(claim: str, raw: str) -> None:
    compare(forger("EdDSA").spliced(claim, raw))


@given(
    st.sampled_from(["header", "payload"]),
    st.floats(0, 1),
    PIECES,
    st.integers(0, 3),
)
def test_differences_on_signed_broken_json_are_explained(
    part: str, where: float, put: str, drop: int
) -> None:
    text = json.dumps(forger("EdDSA").header if part == "header" else CLAIMS)
    at = int(where * len(text))
    changed = (text[:at] + put + text[at + drop :]).encode("utf-8", "surrogatepass")
    header, payload = (changed, None) if part == "header" else (None, changed)
    compare(forger("EdDSA").token(header, payload))


@given(
    st.sampled_from(QUICK),
    st.floats(0, 1),
    st.binary(max_size=2) | st.sampled_from([b".", b"=", b"A", b"_", b"+", b"/", b"\n", b"-"]),
    st.integers(0, 4),
)
def test_differences_on_changed_octets_are_explained(
    alg: str, where: float, put: bytes, drop: int
) -> None:
    token = forger(alg).token().encode()
    at = int(where * len(token))
    changed = token[:at] + put + token[at + drop :]
    reason = compare(changed)
    assert (reason is None) == (changed == token)


@given(
    st.lists(st.sampled_from([(alg, index) for alg in QUICK for index in range(3)]), max_size=5),
    st.sampled_from([".", "..", "", " ."]),
)
def test_differences_on_shuffled_segments_are_explained(
    picks: list[tuple[str, int]], dot: str
) -> None:
    segments = [forger(alg).token().split(".")[index] for alg, index in picks]
    compare(dot.join(segments))


@given(st.binary(min_size=60, max_size=66), st.sampled_from(QUICK))
def test_no_guessed_signature_is_taken(signature: bytes, alg: str) -> None:
    signed = forger(alg).token().rpartition(".")[0]
    assert compare(f"{signed}.{b64(signature)}") == "signature"
