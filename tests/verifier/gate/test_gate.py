"""The gate takes good tokens, turns each attack away by the rule meant for it, and says why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier import Gate, Refused, VerificationKey
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.rules import RULES
from tests.verifier import forge
from tests.verifier.forger import GONE, Forger
from tests.verifier.sample import (
    AUDIENCE,
    CLAIMS,
    ISSUER,
    NOW,
    every_attack,
    forger,
    gate,
    kid_of,
    trusted,
)

ON_ES256 = [
    pytest.param(name, token, id=name.encode("ascii", "backslashreplace").decode())
    for name, token in every_attack("ES256")
]


def reason(token: object, gate: Gate) -> str:
    with pytest.raises(Refused) as refused:
        gate.check(token)
    return refused.value.reason


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_good_token_is_verified_as_text_and_as_bytes(alg: str) -> None:
    token = forger(alg).token()
    for claims in (gate().check(token), gate().check(token.encode())):
        assert claims.issuer == ISSUER
        assert claims.subject == CLAIMS["sub"]
        assert claims.audience == (AUDIENCE,)
        assert claims.client_id == "first-party"
        assert (claims.issued_at, claims.expires_at) == (NOW - 5, NOW + 900)
        assert claims.not_before == NOW - 5
        assert claims.token_id == CLAIMS["jti"]
        assert claims.scopes == {"users:read", "users:write"}
        assert claims.session == CLAIMS["sid"]
        assert claims.username == "alice"
        assert claims.roles == ("admin",)
        assert (claims.kid, claims.algorithm) == (kid_of(alg), alg)
        assert dict(claims.claims) == CLAIMS


@pytest.mark.parametrize(("name", "token"), ON_ES256)
def test_an_attack_is_refused_by_the_rule_meant_for_it(name: str, token: str) -> None:
    assert reason(token, gate(leeway=30)) == name.partition(":")[0]


@pytest.mark.parametrize("alg", ["RS256", "PS256", "EdDSA"])
def test_attacks_on_the_other_algorithms_are_refused_just_so(alg: str) -> None:
    mine = gate(leeway=30)
    wrong = {
        name: found
        for name, token in every_attack(alg)
        if (found := reason(token, mine)) != name.partition(":")[0]
    }
    assert not wrong


def test_the_explanation_of_an_attack_agrees_with_its_refusal() -> None:
    for name, token in every_attack("ES256"):
        checks = gate(leeway=30).explain(token)
        failed = [check for check in checks if check.passed is False]
        assert failed[0].name == name.partition(":")[0]
        # Nothing that a token says may write to the terminal of whoever asked.
        assert all(check.words.isprintable() and check.words.isascii() for check in checks)


def test_forged_names_are_unique() -> None:
    names = [name for name, _ in every_attack("ES256")]
    assert len(names) == len(set(names)) > 300


@pytest.mark.parametrize("token", [None, 7, 1.5, True, [], {}, bytearray(b"a.b"), memoryview(b"")])
def test_what_is_not_text_is_refused(token: object) -> None:
    assert reason(token, gate()) == "token"


@given(st.text() | st.binary() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_no_text_and_no_octets_raise_anything_but_refused(token: str | bytes) -> None:
    with pytest.raises(Refused):
        gate().check(token)
    assert not all(check.passed for check in gate().explain(token))


@given(st.binary(), st.binary())
def test_no_signed_octets_raise_anything_but_refused(header: bytes, payload: bytes) -> None:
    for token in (
        forger("EdDSA").token(payload=payload),
        forger("EdDSA").token(header, payload),
    ):
        with pytest.raises(Refused):
            gate().check(token)


def test_the_other_spelling_of_an_es256_signature_is_the_same_token() -> None:
    token = forger("ES256").token()
    twin = forge.malleated(token)
    assert twin != token
    assert gate().check(twin).token_id == gate().check(token).token_id


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt"])
def test_the_type_is_compared_without_case_and_with_or_without_application(typ: str) -> None:
    assert gate().check(forger("EdDSA").with_header(typ=typ)).subject == CLAIMS["sub"]


def test_a_key_found_under_another_kid_is_not_used() -> None:
    key = trusted()[kid_of("EdDSA")]
    confused = gate(keys=lambda kid: key)
    assert confused.check(forger("EdDSA").token())
    assert reason(forger("EdDSA").with_header(kid="other"), confused) == "header.kid"


def test_an_algorithm_that_the_gate_was_not_given_is_refused() -> None:
    only = gate(algorithms=["ES256"])
    assert only.check(forger("ES256").token())
    assert reason(forger("EdDSA").token(), only) == "header.alg"


def test_a_signature_check_that_fails_oddly_refuses() -> None:
    def broken(message: bytes, signature: bytes) -> bool:
        raise RuntimeError("backend")

    keys = {"k": VerificationKey("k", "EdDSA", broken)}
    assert reason(forger("EdDSA").with_header(kid="k"), gate(keys=keys.get)) == "signature"


def test_a_revoked_key_is_refused_even_after_its_tokens_were_accepted() -> None:
    keys = dict(trusted())
    mine = gate(keys=keys.get)
    token = forger("EdDSA").token()
    mine.check(token)
    del keys[kid_of("EdDSA")]
    assert reason(token, mine) == "header.kid"


def test_many_headers_are_remembered_within_bounds() -> None:
    mine = gate(keys=lambda kid: VerificationKey(kid, "EdDSA", trusted()[kid_of("EdDSA")].verify))
    for kid in range(300):
        assert mine.check(forger("EdDSA").with_header(kid=str(kid))).kid == str(kid)
    assert len(mine._policy.headers) <= 64


@pytest.mark.parametrize(
    ("audience", "accepted", "good"),
    [
        (AUDIENCE, AUDIENCE, True),
        ([AUDIENCE], AUDIENCE, True),
        (["https://other.example", AUDIENCE], AUDIENCE, True),
        (AUDIENCE, {"https://other.example", AUDIENCE}, True),
        ("https://other.example", AUDIENCE, False),
        (["https://other.example"], AUDIENCE, False),
        (AUDIENCE + "/", AUDIENCE, False),
        (AUDIENCE.upper(), AUDIENCE, False),
        ("https://other.example", None, True),
        (["https://other.example", "b"], None, True),
        ([], None, False),
        ("", None, False),
        (["a", ""], None, False),
        ([1], None, False),
        (GONE, None, False),
        (GONE, AUDIENCE, False),
    ],
)
def test_the_token_must_be_for_an_audience_that_the_gate_serves(
    audience: object, accepted: Any, good: bool
) -> None:
    token = forger("EdDSA").with_claims(aud=audience)
    if good:
        gate(audience=accepted).check(token)
    else:
        assert reason(token, gate(audience=accepted)) == "aud"


@pytest.mark.parametrize("seconds", [-0.1, 30.1, float("nan")])
@pytest.mark.parametrize("name", ["leeway", "skew"])
def test_clocks_may_differ_by_half_a_minute_and_no_more(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0 to 30 seconds"):
        gate(**{name: seconds})


@pytest.mark.parametrize("leeway", [0, 0.5, 30])
def test_a_token_lives_from_not_before_until_just_before_its_expiry(leeway: float) -> None:
    token = forger("EdDSA").with_claims(iat=NOW, nbf=NOW + 10, exp=NOW + 20)

    def at(moment: float) -> Gate:
        return gate(leeway=leeway, clock=lambda: moment)

    assert reason(token, at(NOW + 10 - leeway - 0.001)) in {"nbf", "iat"}
    assert at(NOW + 10 - leeway + (leeway > 10) * leeway).check(token)
    assert at(NOW + 20 + leeway - 0.001).check(token)
    assert reason(token, at(NOW + 20 + leeway)) == "exp"


@pytest.mark.parametrize("leeway", [0, 30])
def test_a_token_from_the_future_is_refused(leeway: float) -> None:
    token = forger("EdDSA").with_claims(iat=NOW + 60, nbf=GONE)
    assert reason(token, gate(leeway=leeway, clock=lambda: NOW + 59.0 - leeway)) == "iat"
    claims = gate(leeway=leeway, clock=lambda: NOW + 60.0 - leeway).check(token)
    assert claims.not_before == NOW + 60


def test_fractions_of_a_second_count() -> None:
    token = forger("EdDSA").with_claims(exp=NOW + 0.5)
    assert gate(clock=lambda: NOW + 0.4).check(token).expires_at == NOW + 0.5
    assert reason(token, gate(clock=lambda: NOW + 0.5)) == "exp"


def test_what_a_token_may_leave_out_it_may_leave_out() -> None:
    token = forger("EdDSA").with_claims(nbf=GONE, scope=GONE, sid=GONE, username=GONE, roles=GONE)
    claims = gate().check(token)
    assert (claims.scopes, claims.roles) == (frozenset(), ())
    assert claims.session is claims.username is None
    assert claims.not_before == claims.issued_at


def test_an_empty_scope_is_no_scope() -> None:
    assert gate().check(forger("EdDSA").with_claims(scope="")).scopes == frozenset()


def test_unknown_claims_are_kept_for_whoever_knows_them() -> None:
    claims = gate().check(forger("EdDSA").with_claims(act={"sub": "svc"}, auth_time=NOW))
    assert claims.claims["act"] == {"sub": "svc"}
    assert claims.claims["auth_time"] == NOW


def test_eight_levels_are_read_and_brackets_in_strings_are_not_levels() -> None:
    deep: Any = "[" * 100
    for _ in range(7):
        deep = [deep]
    gate().check(forger("EdDSA").with_claims(x=deep))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ""},
        {"audience": ""},
        {"audience": []},
        {"audience": [AUDIENCE, ""]},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["ES256", "HS256"]},
        {"leeway": -1},
        {"leeway": 30.001},
        {"leeway": float("nan")},
        {"leeway": float("inf")},
    ],
)
def test_a_gate_that_would_be_lax_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"gate|leeway"):
        gate(**changes)


def test_what_the_key_source_raises_passes_through() -> None:
    """Keys that cannot be had just now are the service's trouble, not the token's."""

    def unreachable(kid: str) -> VerificationKey | None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        gate(keys=unreachable).check(forger("EdDSA").token())


def test_every_rule_is_explained_in_order_for_a_good_token() -> None:
    checks = gate().explain(forger("ES256").token())
    assert [check.name for check in checks] == [rule.name for rule in RULES]
    assert all(check.passed and check.words for check in checks)


def test_an_expired_token_of_a_forgotten_key_is_explained_in_both_points() -> None:
    token = forger("ES256").with_claims(exp=NOW - 1)
    checks = {check.name: check for check in gate(keys=lambda kid: None).explain(token)}
    assert checks["header.kid"].passed is False
    assert checks["signature"].passed is None
    assert checks["exp"].passed is False
    assert checks["exp"].words == f"expired at {NOW - 1}, and it is {NOW}"
    assert checks["sub"].passed is True


def test_an_explanation_reaches_nothing_in_what_is_not_a_token() -> None:
    checks = gate().explain("rt_abc")
    assert [check.passed for check in checks] == [True, False, *[None] * (len(RULES) - 2)]


def test_a_refusal_reads_as_rule_and_words() -> None:
    with pytest.raises(Refused, match=r"^aud: aud \['https://other.example'\] names none of "):
        gate().check(forger("EdDSA").with_claims(aud="https://other.example"))
    assert str(Refused("revoked")) == "revoked"


def test_a_stranger_with_our_kid_leaves_no_header_behind() -> None:
    mine = gate()
    stranger = Forger(ALGORITHMS["EdDSA"].generate(), kid_of("EdDSA"), "EdDSA", CLAIMS)
    assert reason(stranger.token(), mine) == "signature"
    assert not mine._policy.headers
