"""`VerifiedClaims` is proof: it comes from the gate or not at all, and it does not change."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import identity
from identity.verifier import VerifiedClaims
from identity.verifier.gate.claims import KeptClaims, Terms
from tests.verifier.forger import Forger
from tests.verifier.sample import CLAIMS, NOW, forger, gate, kid_of, private_key


@pytest.fixture
def claims() -> VerifiedClaims:
    return gate(leeway=10).check(forger("EdDSA").token())


@pytest.mark.parametrize("seal", [None, object(), True, "seal"])
def test_nobody_but_the_gate_makes_verified_claims(seal: object) -> None:
    with pytest.raises(TypeError, match="only the gate"):
        VerifiedClaims(seal, b"{}", dict(CLAIMS), Terms("k", "EdDSA", 0))


def test_verified_claims_made_without_their_constructor_say_nothing() -> None:
    empty = object.__new__(VerifiedClaims)
    with pytest.raises(AttributeError):
        _ = empty.subject
    with pytest.raises(AttributeError):
        empty.scopes = frozenset({"admin"})  # type: ignore[misc]


def test_verified_claims_have_no_subclasses() -> None:
    with pytest.raises(TypeError, match="no subclasses"):
        type("Forged", (VerifiedClaims,), {})


def test_verified_claims_do_not_change(claims: VerifiedClaims) -> None:
    for name in ("scopes", "subject", "claims", "anything"):
        with pytest.raises(AttributeError):
            setattr(claims, name, "x")
        with pytest.raises(AttributeError):
            delattr(claims, name)
    with pytest.raises(TypeError):
        claims.claims["sub"] = "root"  # type: ignore[index]
    with pytest.raises(AttributeError):
        claims.__dict__  # noqa: B018


def test_verified_claims_are_copied_as_themselves_and_never_pickled(
    claims: VerifiedClaims,
) -> None:
    assert copy.copy(claims) is claims
    assert copy.deepcopy({"a": claims})["a"] is claims
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(claims, protocol)


def test_only_the_gate_holds_the_seal() -> None:
    package = Path(identity.__file__).parent
    holders = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if b"SEAL" in path.read_bytes()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if (isinstance(node, ast.Name) and node.id == "SEAL")
        or (isinstance(node, ast.Attribute) and node.attr == "SEAL")
        or (isinstance(node, ast.alias) and node.name == "SEAL")
    }
    assert holders == {"verifier/gate/claims.py", "verifier/gate/gate.py"}


def test_kept_claims_are_asked_again_whether_they_are_still_good(claims: VerifiedClaims) -> None:
    assert claims.valid_at(NOW)
    assert claims.valid_at(NOW + 909.9)  # the gate's leeway of 10 s
    assert not claims.valid_at(NOW + 910)
    assert not claims.valid_at(NOW + 900, leeway=0)
    assert claims.valid_at(NOW + 899.9, leeway=0)
    assert claims.valid_at(NOW - 15)
    assert not claims.valid_at(NOW - 15.1)
    assert not claims.valid_at(NOW - 5.1, leeway=0)


def test_what_is_made_when_asked_for_is_made_once(claims: VerifiedClaims) -> None:
    for name in ("audience", "scopes", "roles"):
        assert getattr(claims, name) is getattr(claims, name)


def test_a_token_is_good_from_its_nbf_or_else_its_iat() -> None:
    later = gate().check(forger("EdDSA").with_claims(iat=NOW - 9, nbf=NOW - 3))
    assert (later.issued_at, later.not_before) == (NOW - 9, NOW - 3)
    without = {name: value for name, value in CLAIMS.items() if name != "nbf"}
    token = Forger(private_key("EdDSA"), kid_of("EdDSA"), "EdDSA", without).token()
    assert gate().check(token).not_before == CLAIMS["iat"]


@pytest.mark.parametrize(
    ("changes", "itself"),
    [
        ({"sub": "shop", "client_id": "shop"}, True),
        ({"sub": "shop", "client_id": "shop", "sid": "s"}, False),
        ({"sub": "ada", "client_id": "shop"}, False),
        ({"sub": "ada", "client_id": "shop", "sid": "s"}, False),
        ({"sub": "shop", "client_id": "gateway", "act": {"sub": "gateway"}}, True),
        ({"sub": "ada", "client_id": "gateway", "sid": "s", "act": {"sub": "gateway"}}, False),
    ],
)
def test_a_client_acts_for_itself_where_it_is_the_subject_and_nobody_logged_in(
    changes: dict[str, Any], itself: bool
) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "sid"} | changes
    token = Forger(private_key("EdDSA"), kid_of("EdDSA"), "EdDSA", claims).token()
    assert gate().check(token).is_client is itself


def test_what_a_token_says_of_others_is_said_or_nothing() -> None:
    digest = "c" * 43
    acted = forger("EdDSA").with_claims(
        act={"sub": "gateway", "act": {"sub": "before"}}, cnf={"jkt": digest}
    )
    said = gate().check(acted)
    assert (said.actor, said.confirmation) == ("gateway", {"jkt": digest})
    plain = gate().check(forger("EdDSA").token())
    assert (plain.actor, plain.confirmation) == (None, None)


def test_what_the_gate_let_a_token_through_by_is_said(claims: VerifiedClaims) -> None:
    assert (claims.kid, claims.algorithm, claims.leeway) == (kid_of("EdDSA"), "EdDSA", 10)


def test_kept_claims_unfold_when_nobody_has_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forger("ES256").token()
    kept = gate().check(token).keep()
    monkeypatch.setattr("identity.verifier.gate.claims._unfolded", None)
    assert kept.unfold(token).claims == CLAIMS


def test_kept_claims_unfold_from_their_own_token_alone() -> None:
    one, other = forger("ES256").with_claims(), forger("ES256").with_claims(sub="admin")
    kept = gate().check(one).keep()
    gate().check(other).keep()
    unfolded = kept.unfold(one)
    assert unfolded.claims == gate().check(one).claims
    assert kept.unfold(one) is unfolded  # asked for again at once
    gate().check(other).keep()
    with pytest.raises(ValueError, match="not the claims that were kept"):
        kept.unfold(other)
    assert kept.says(gate().check(one))
    assert not kept.says(gate().check(other))


def test_their_repr_names_the_token_and_its_subject_on_one_line(claims: VerifiedClaims) -> None:
    assert repr(claims) == f"<VerifiedClaims jti='{CLAIMS['jti']}' sub='{CLAIMS['sub']}'>"
    odd = gate().check(forger("EdDSA").with_claims(sub="a\n\x1b[2J"))
    assert repr(odd).isprintable()


def test_kept_claims_cannot_be_made_or_changed_to_say_something_else() -> None:
    with pytest.raises(TypeError, match="only VerifiedClaims"):
        KeptClaims(object(), object.__new__(VerifiedClaims))
    kept = object.__new__(KeptClaims)
    with pytest.raises(AttributeError):
        kept._digest = b""  # type: ignore[misc]
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(kept)
