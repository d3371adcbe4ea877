"""`identity trusted-issuers …`"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from identity.records.audit import AuditEvent
from identity.store import Database
from tests.signing import Signer

Identity = Callable[..., Any]
CLUSTER = "https://kubernetes.default.svc.cluster.local"


def listed(identity: Identity) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(identity("trusted-issuers", "list", "--json").out)
    return found


def test_an_operator_trusts_and_distrusts_issuers(
    identity: Identity, db: Database, tmp_path: Path
) -> None:
    assert identity("trusted-issuers", "create", CLUSTER, "--name", "Shop").code == 0
    (made,) = listed(identity)
    assert (made["issuer"], made["name"], made["status"]) == (CLUSTER, "Shop", "active")
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(Signer().jwks))
    changed = identity(
        "trusted-issuers", "update", CLUSTER, "--jwks", str(file), "--audience", "us", "--disable"
    )
    assert changed.code == 0
    (found,) = listed(identity)
    assert found["jwks"] == json.loads(file.read_text())
    assert (found["audience"], found["status"]) == ("us", "disabled")
    uri = "https://cluster.example/jwks"
    by_id = ("trusted-issuers", "update", made["id"], "--jwks-uri", uri, "--audience", "")
    assert identity(*by_id, "--enable", "--user-match", "email", "--user-claim", "email").code == 0
    shown = json.loads(identity("trusted-issuers", "show", CLUSTER, "--json").out)
    assert (shown["jwks"], shown["jwks_uri"], shown["audience"]) == (None, uri, None)
    assert (shown["status"], shown["user_match"]) == ("active", "email")
    assert CLUSTER in identity("trusted-issuers", "list").out
    assert identity("trusted-issuers", "delete", CLUSTER).code == 2  # nobody to ask
    assert identity("trusted-issuers", "delete", CLUSTER, "--yes").code == 0
    assert listed(identity) == []
    with db.transaction() as session:
        query = select(AuditEvent).where(col(AuditEvent.event).startswith("trusted_issuer."))
        events = sorted(session.exec(query).all(), key=lambda event: event.id or 0)
    names = ["created", "updated", "updated", "deleted"]
    assert [event.event.partition(".")[2] for event in events] == names
    assert {(event.subject, event.actor_type) for event in events} == {(made["id"], "cli")}


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_mistake_gets_one_line(identity: Identity, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text("[1]")
    for arguments, code, words in (
        (["create", "http://cluster.example"], 1, "https://"),
        (["create", CLUSTER, "--user-match", "phone"], 2, "one of none, id, username, email"),
        (["create", CLUSTER, "--jwks", str(file)], 2, "is no key set"),
        (["create", CLUSTER, "--jwks", str(file), "--jwks-uri", "x"], 2, "not both"),
        (["show", CLUSTER], 1, "no such issuer"),
        (["update", CLUSTER], 2, "say what is to change"),
    ):
        done = identity("trusted-issuers", *arguments)
        assert done.code == code, arguments
        assert words in done.err and "Traceback" not in done.err
