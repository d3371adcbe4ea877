"""`identity clients …`, `roles …` and `scopes …`."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlmodel import col, select

from identity.clock import utcnow
from identity.directory.clients.table import ClientSecret
from identity.oauth.grants import registry
from identity.oauth.grants.client_credentials import ClientCredentials
from identity.opaque import digest
from identity.records.audit import AuditEvent
from identity.store import Database
from identity.store.table import Change
from tests.cli.test_users import log_in

Identity = Callable[..., Any]


def kinds(db: Database) -> set[str]:
    with db.transaction() as session:
        return set(session.exec(select(Change.kind)).all())


def digests(db: Database) -> list[str]:
    with db.transaction() as session:
        return list(session.exec(select(ClientSecret.digest).order_by(col(ClientSecret.id))))


def test_a_clients_secret_is_printed_once_alone_and_kept_as_a_digest(
    identity: Identity, db: Database
) -> None:
    done = identity("clients", "create", "billing", "--scope", "introspect", "--name", "Billing")
    secret = done.out.removesuffix("\n")
    assert (done.code, secret[:3], len(secret)) == (0, "cs_", 46)
    assert digests(db) == [digest(secret)]
    (listed,) = json.loads(identity("clients", "list", "--json").out)
    assert (listed["id"], listed["name"], listed["type"]) == ("billing", "Billing", "confidential")
    assert listed["grants"] == ["client_credentials"]
    assert listed["scopes"] == ["introspect"]
    assert [one["hint"] for one in listed["secrets"]] == [secret[-4:]]
    assert digest(secret) not in json.dumps(listed)
    assert "billing" in identity("clients", "list").out


def test_a_client_says_what_its_requests_ask_for_unsaid(identity: Identity, db: Database) -> None:
    done = identity(
        "clients", "create", "desk", "--public",
        "--default-scope", "users:read", "--default-scope", "account",
    )  # fmt: skip
    assert done.code == 0
    identity("clients", "create", "plain")
    listed = json.loads(identity("clients", "list", "--json").out)
    assert [c["default_scopes"] for c in listed] == [["users:read", "account"], None]
    done = identity("clients", "create", "bad", "--scope", "introspect", "--default-scope", "*")
    assert (done.code, "not among the client's scopes" in done.err) == (1, True)


def test_a_public_client_has_no_secret(identity: Identity, db: Database) -> None:
    done = identity("clients", "create", "spa", "--public", "--json")
    assert json.loads(done.out) == {"client_id": "spa"}
    (listed,) = json.loads(identity("clients", "list", "--json").out)
    assert (listed["grants"], listed["scopes"]) == (["password", "refresh_token"], ["*"])
    done = identity("clients", "rotate-secret", "spa")
    assert (done.code, done.err) == (1, "identity: a public client has no secrets\n")


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["two words"], "id must be"),
        (["taken"], "the client id is taken"),
        (["bad", "--grant", "wish"], "no such grant: wish; there are password"),
        (["bad", "--scope", "wish"], "no such scope: wish"),
        (["bad", "--public", "--grant", "client_credentials"], "public client cannot"),
        (["bad", "--audience", "a b"], "audiences"),
    ],
)
def test_a_client_that_may_not_be_is_refused(
    identity: Identity, args: list[str], words: str
) -> None:
    identity("clients", "create", "taken")
    done = identity("clients", "create", *args)
    assert (done.code, done.out) == (1, "")
    assert words in done.err


def test_a_rotated_secret_replaces_the_one_before(identity: Identity, db: Database) -> None:
    identity("clients", "create", "billing")
    new = json.loads(identity("clients", "rotate-secret", "billing", "--json").out)
    assert digests(db) == [digest(new["client_secret"])]
    assert "client.changed" in kinds(db)


def test_the_secret_before_stays_good_for_the_overlap_asked_for(
    identity: Identity, db: Database
) -> None:
    secrets = [identity("clients", "create", "billing").out.strip()]
    for overlap in ("1h", "2d"):
        done = identity("clients", "rotate-secret", "billing", "--overlap", overlap)
        assert done.code == 0, done
        secrets.append(done.out.strip())
    assert digests(db) == [digest(secret) for secret in secrets[1:]]
    with db.transaction() as session:
        old, new = session.exec(select(ClientSecret).order_by(col(ClientSecret.id))).all()
    assert new.expires_at is None
    assert old.expires_at is not None
    assert 47 < (old.expires_at - utcnow()).total_seconds() / 3600 < 48.1
    assert identity("clients", "rotate-secret", "billing", "--overlap", "soon").code == 2
    assert identity("clients", "rotate-secret", "billing", "--overlap", "999999999d").code == 2


def test_a_deleted_client_ends_its_sessions(
    identity: Identity, db: Database, settings: Any
) -> None:
    identity("users", "create", "ada", "--generate")
    identity("clients", "create", "billing")
    log_in(db, settings, "ada")
    assert identity("clients", "delete", "billing", "--yes").code == 0
    assert "client.revoked" in kinds(db)
    assert (
        identity("clients", "delete", "billing", "--yes").err
        == "identity: there is no client billing\n"
    )
    builtin = identity("clients", "delete", "first-party", "--yes")
    assert (builtin.code, "built-in" in builtin.err) == (1, True)


def test_a_disabled_client_ends_its_sessions_and_can_be_enabled_again(
    identity: Identity, db: Database, settings: Any
) -> None:
    assert identity("users", "create", "ada", "--generate").code == 0
    log_in(db, settings, "ada")
    done = identity("clients", "disable", "first-party")
    assert (done.code, done.err) == (0, "first-party is disabled; sessions ended: 1.\n")
    assert kinds(db) >= {"client.revoked", "client.changed", "session.ended"}
    (listed,) = json.loads(identity("clients", "list", "--json").out)
    assert listed["status"] == "disabled"
    assert identity("clients", "enable", "first-party").err == "first-party is enabled.\n"
    (listed,) = json.loads(identity("clients", "list", "--json").out)
    assert listed["status"] == "active"
    assert identity("clients", "enable", "nobody").code == 1


def test_an_id_taken_again_is_good_when_the_command_returns(identity: Identity) -> None:
    identity("clients", "create", "billing")
    identity("clients", "delete", "billing", "--yes")
    assert identity("clients", "create", "billing").code == 0
    (listed,) = json.loads(identity("clients", "list", "--json").out)
    assert datetime.fromisoformat(listed["created_at"]) <= utcnow()


def test_the_grants_a_client_may_have_are_those_of_the_registry(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Please(ClientCredentials):
        grant_type = "urn:example:please"

    monkeypatch.setattr(registry, "GRANTS", (*registry.GRANTS, Please))
    assert identity("clients", "create", "usual").code == 0
    assert identity("clients", "create", "polite", "--grant", Please.grant_type).code == 0
    assert identity("clients", "create", "desk", "--public").code == 0
    done = identity("clients", "create", "bad", "--grant", "implicit")
    assert (done.code, Please.grant_type in done.err) == (1, True)
    listed = json.loads(identity("clients", "list", "--json").out)
    assert {client["id"]: client["grants"] for client in listed} == {
        "usual": ["client_credentials", Please.grant_type],
        "polite": [Please.grant_type],
        "desk": ["password", "refresh_token"],
    }
    assert Please.grant_type in identity("clients", "list", "--grant", "implicit").err


def test_roles_are_named_sets_of_scopes_that_can_be_handed_out(
    identity: Identity, db: Database
) -> None:
    assert identity("scopes", "create", "orders:read", "--audience", "https://orders").code == 0
    done = identity(
        "roles", "create", "clerk", "--scope", "orders:read", "--scope", "users:read",
        "--description", "Sees orders",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "Created the role clerk.\n")
    identity("users", "create", "ada", "--role", "clerk", "--generate")
    roles = {role["name"]: role for role in json.loads(identity("roles", "list", "--json").out)}
    assert roles["clerk"]["scopes"] == ["orders:read", "users:read"]
    assert (roles["clerk"]["users"], roles["clerk"]["description"]) == (1, "Sees orders")
    assert "orders:read" in roles["admin"]["scopes"]
    scopes = {
        scope["name"]: scope for scope in json.loads(identity("scopes", "list", "--json").out)
    }
    assert scopes["orders:read"]["audience"] == "https://orders"
    assert "clerk" in identity("roles", "list").out
    assert "orders:read" in identity("scopes", "list").out

    assert identity("roles", "delete", "clerk", "--yes").code == 0
    assert json.loads(identity("users", "show", "ada", "--json").out)["roles"] == []
    assert identity("scopes", "delete", "orders:read", "--yes").code == 0
    assert {"role.changed", "scope.changed"} <= kinds(db)
    with db.transaction() as session:
        events = set(session.exec(select(AuditEvent.event)).all())
    assert {"role.created", "role.deleted", "scope.created", "scope.deleted"} <= events


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["roles", "create", "admin"], "such a role already"),
        (["roles", "create", "two words"], "name must be"),
        (["roles", "create", "clerk", "--scope", "wish"], "no such scope: wish"),
        (["roles", "create", "clerk", "--acr", "gold"], "acr must be aal2"),
        (["roles", "update", "admin", "--acr", "gold"], "acr must be aal2"),
        (["roles", "delete", "admin", "--yes"], "built-in"),
        (["roles", "delete", "wish"], "no such role"),
        (["scopes", "create", "users:read"], "such a scope already"),
        (["scopes", "create", "two words"], "name must be"),
        (["scopes", "create", "ok", "--audience", "a b"], "audience must be"),
        (["scopes", "create", "ok", "--audience", "orders"], "audience must be an absolute URI"),
        (["scopes", "create", "ok", "--audience", "https://a/" + "b" * 191], "of at most 200"),
        (["scopes", "delete", "users:read", "--yes"], "built-in"),
    ],
)
def test_a_role_or_scope_that_may_not_be_is_refused(
    identity: Identity, args: list[str], words: str
) -> None:
    identity("users", "create", "ada", "--role", "admin", "--generate")
    done = identity(*args)
    assert (done.code, done.out) == (1, "")
    assert words in done.err


def test_what_is_shown_comes_in_the_same_order_in_every_process(identity: Identity) -> None:
    """Rows that are read hold their columns in no order of their own."""
    assert identity("scopes", "create", "read").code == 0
    assert identity("clients", "create", "robot").code == 0
    first = json.loads(identity("scopes", "list", "--json").out)[0]
    assert list(first) == [
        "name", "description", "audience", "open_to_registered", "builtin", "created_at",
        "updated_at",
    ]  # fmt: skip
    client = identity("clients", "show", "robot").out.splitlines()
    assert [line.split()[0] for line in client][:3] == ["id", "name", "type"]
