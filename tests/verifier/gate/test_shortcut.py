"""The straight way and the rules agree: a gate that knows a header, and one that does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier import Gate, Refused, VerificationKey
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.shortcut import read
from tests.verifier.forger import GONE
from tests.verifier.gate.test_oracles import CHANGES, CLAIM_NAMES, RAW
from tests.verifier.sample import CLAIMS, NOW, every_attack, forger, gate, good, kid_of, trusted


def outcome(gate: Gate, token: object) -> tuple[str, str] | dict[str, Any]:
    try:
        return dict(gate.check(token).claims)
    except Refused as refused:
        return refused.reason, refused.words


def warm(alg: str, **changes: Any) -> Gate:
    """A gate that has seen a good token of this algorithm."""
    warmed = gate(**changes)
    warmed.check(good(alg))
    assert read(warmed._policy, good(alg), NOW) is not None
    return warmed


WARM = {alg: warm(alg) for alg in ALGORITHMS}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_attack_is_refused_for_the_same_reason_in_the_same_words(alg: str) -> None:
    for name, token in every_attack(alg):
        assert outcome(warm(alg, leeway=30), token) == outcome(gate(leeway=30), token), name


@given(st.dictionaries(CLAIM_NAMES, CHANGES, max_size=3))
def test_claims_come_to_the_same(changes: dict[str, Any]) -> None:
    token = forger("EdDSA").with_claims(**changes)
    assert outcome(WARM["EdDSA"], token) == outcome(gate(), token)


@given(CLAIM_NAMES, RAW)
def test_raw_json_comes_to_the_same(claim: str, raw: str) -> None:
    token = forger("EdDSA").spliced(claim, raw)
    assert outcome(WARM["EdDSA"], token) == outcome(gate(), token)


EDGES = [NOW - 31, NOW - 30, NOW - 29, NOW - 1, NOW, NOW + 1, NOW + 29, NOW + 30, NOW + 31]


@given(*[st.sampled_from([*EDGES, GONE, NOW + 0.5, -1, 253402300799, 253402300800])] * 3)
def test_times_come_to_the_same_at_every_edge(exp: Any, iat: Any, nbf: Any) -> None:
    token = forger("EdDSA").with_claims(exp=exp, iat=iat, nbf=nbf)
    assert outcome(warm("EdDSA", leeway=30), token) == outcome(gate(leeway=30), token)


def test_a_token_for_somebody_else_is_refused_behind_a_header_that_has_passed() -> None:
    for other in ("https://other.example", CLAIMS["aud"] + "/", ["https://other.example"]):
        assert outcome(warm("EdDSA"), forger("EdDSA").with_claims(aud=other))[0] == "aud"  # type: ignore[index]


def test_a_header_that_was_only_explained_is_not_believed() -> None:
    """Signed by the issuer, but no access token: `explain` goes on behind what it refuses."""
    mine = gate()
    other = forger("ES256").with_header(typ="statuslist+jwt")
    mine.explain(other)
    assert outcome(mine, other)[0] == "header.typ"  # type: ignore[index]
    assert mine._policy.usual == {}


def test_a_key_that_was_replaced_or_taken_away_is_not_believed() -> None:
    keys = dict(trusted())
    mine = gate(keys=keys.get)
    token = forger("ES256").token()
    mine.check(token)
    kid = kid_of("ES256")
    keys[kid] = VerificationKey(kid, "EdDSA", trusted()[kid_of("EdDSA")].verify)
    assert outcome(mine, token)[0] == "key.alg"  # type: ignore[index]
    del keys[kid]
    assert outcome(mine, token)[0] == "header.kid"  # type: ignore[index]


def test_a_bad_signature_is_checked_once() -> None:
    asked = []

    def counting(message: bytes, signature: bytes) -> bool:
        asked.append(signature)
        return trusted()[kid].verify(message, signature)

    kid = kid_of("ES256")
    mine = gate(keys={kid: VerificationKey(kid, "ES256", counting)}.get)
    good = forger("ES256").token()
    mine.check(good)
    for token in (
        good[:-8] + "AAAAAAAA",
        forger("ES256").with_claims(exp=1),
        forger("ES256").with_claims(aud=[CLAIMS["aud"]]),
    ):
        before = len(asked)
        outcome(mine, token)
        assert len(asked) == before + 1


def test_a_verifier_that_fails_has_not_found_the_signature_good() -> None:
    """The header has passed before: the shortcut must take an error for a refusal as well."""
    broken = False

    def failing(message: bytes, signature: bytes) -> bool:
        if broken:
            raise RuntimeError("the backend is gone")
        return trusted()[kid].verify(message, signature)

    kid = kid_of("ES256")
    mine = gate(keys={kid: VerificationKey(kid, "ES256", failing)}.get)
    token = forger("ES256").token()
    mine.check(token)
    broken = True
    assert outcome(mine, token)[0] == "signature"  # type: ignore[index]


def test_headers_are_kept_within_bounds() -> None:
    mine = gate()
    for number in range(200):
        mine.check(
            forger("ES256").token(
                header=" " * number + f'{{"alg":"ES256","typ":"at+jwt","kid":"{kid_of("ES256")}"}}'
            )
        )
    assert 0 < len(mine._policy.usual) <= 64
    assert 0 < len(mine._policy.headers) <= 64
