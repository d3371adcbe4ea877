"""What a revocation hits, what it spares, and when it is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from identity.verifier.revocations.denylist import GRACE, LATE, Denylist, Entry, Subject, Verdict
from tests.verifier.sample import CLAIMS, NOW, forger, gate, kid_of


def subject(**claims: Any) -> Subject:
    return Subject(gate().check(forger("ES256").with_claims(**claims)))


def entry(kind: str, ref: str, at: float = NOW, exp: float = NOW + 900) -> Entry:
    return Entry(1, kind, ref, at, exp)


@pytest.mark.parametrize(
    ("kind", "ref"),
    [("token", CLAIMS["jti"]), ("session", CLAIMS["sid"]), ("key", kid_of("ES256"))],
    ids=["token", "session", "key"],
)
def test_a_token_session_or_key_dies_whole(kind: str, ref: str) -> None:
    denied = Denylist()
    assert denied.judge(subject()) is Verdict.ALIVE
    denied.add(entry(kind, "another"))
    assert denied.judge(subject()) is Verdict.ALIVE
    denied.add(entry(kind, ref))
    assert denied.judge(subject()) is Verdict.DEAD


@pytest.mark.parametrize(
    ("kind", "ref"), [("subject", CLAIMS["sub"]), ("client", CLAIMS["client_id"])]
)
@pytest.mark.parametrize(
    ("iat", "verdict"),
    [
        (NOW - LATE - 6, Verdict.DEAD),
        (NOW - LATE - 5, Verdict.UNSURE),
        (NOW - LATE - 4.75, Verdict.UNSURE),
        (NOW - LATE - 4, Verdict.UNSURE),
        (NOW - 5, Verdict.UNSURE),
        (NOW - 4, Verdict.ALIVE),
    ],
)
def test_a_subject_or_client_loses_what_it_got_before(
    kind: str, ref: str, iat: float, verdict: Verdict
) -> None:
    denied = Denylist()
    denied.add(entry(kind, ref, at=NOW - LATE - 4.5))
    assert denied.judge(subject(iat=iat, nbf=iat)) is verdict


def test_a_later_act_covers_the_earlier_in_whichever_order_they_come() -> None:
    denied = Denylist()
    denied.add(entry("subject", CLAIMS["sub"], at=NOW - 1, exp=NOW + 10))
    denied.add(entry("subject", CLAIMS["sub"], at=NOW - 100, exp=NOW + 900))
    assert denied.judge(subject()) is Verdict.DEAD
    denied.prune(NOW + 20 + GRACE)
    assert denied.judge(subject()) is Verdict.DEAD


def test_whom_the_issuer_has_cleared_is_unsure_again_only_after_another_act() -> None:
    denied, token = Denylist(), subject(iat=NOW - 5)
    denied.add(entry("subject", CLAIMS["sub"], at=NOW - 4.9))
    assert denied.judge(token) is Verdict.UNSURE
    token.cleared = denied.last_act(token)
    assert denied.judge(token) is Verdict.ALIVE
    denied.add(entry("subject", CLAIMS["sub"], at=NOW - 4.2))
    assert denied.judge(token) is Verdict.UNSURE


def test_entries_are_forgotten_once_no_slow_clock_can_need_them() -> None:
    denied = Denylist()
    for kind in ("token", "session", "subject", "client", "key"):
        denied.add(entry(kind, "x", exp=NOW))
    denied.prune(NOW + GRACE)
    assert len(denied) == 5
    denied.prune(NOW + GRACE + 1)  # asked too often to look again
    assert len(denied) == 5
    denied.prune(NOW + GRACE + 1, every=0)
    assert len(denied) == 0


def test_a_kind_of_the_future_is_no_error() -> None:
    denied = Denylist()
    denied.add(entry("device", "x"))
    assert denied.judge(subject()) is Verdict.ALIVE


GOOD = {"id": 1, "kind": "token", "ref": "x", "at": 1.5, "exp": 2}


def test_an_entry_is_read_from_its_json() -> None:
    assert Entry.read(GOOD) == Entry(1, "token", "x", 1.5, 2.0)


@pytest.mark.parametrize(
    "wrong",
    [{"id": "1"}, {"id": True}, {"kind": None}, {"ref": 7}, {"at": None}, {"exp": "soon"}],
    ids=str,
)
def test_what_is_no_entry_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a revocation lacks"):
        Entry.read({**GOOD, **wrong})


@pytest.mark.parametrize(
    "status",
    [
        None,
        "x",
        {},
        {"status_list": 1},
        {"status_list": {"idx": -1, "uri": "u"}},
        {"status_list": {"idx": True, "uri": "u"}},
        {"status_list": {"idx": 1, "uri": 2}},
    ],
    ids=str,
)
def test_a_status_that_names_no_place_is_none(status: Any) -> None:
    assert subject(status=status).status is None


def test_a_status_names_a_list_and_a_place_in_it() -> None:
    named = {"status_list": {"idx": 3, "uri": "https://identity.example/status-lists/1"}}
    assert subject(status=named).status == ("https://identity.example/status-lists/1", 3)
