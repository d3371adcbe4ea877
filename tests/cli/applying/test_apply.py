"""`identity apply`: what is added, changed and removed, by whom, and what is left alone."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from identity.cli.applying import command
from identity.clock import utcnow
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client
from identity.directory.configured import Configured
from identity.directory.users.table import User
from identity.records.audit import AuditEvent
from identity.store import Database
from identity.store.table import Change
from identity.tokens.sessions.table import LoginSession

Identity = Callable[..., Any]
Apply = Callable[..., Any]
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
OTHER = "zyxwvutsrqponmlkjihgfedcba9876543210"

SHOP = """
resources:
  https://orders.example.com:
    scopes:
      orders:read: {description: See orders}
      orders:write:
scopes:
  reports:
roles:
  clerk:
    scopes: [orders:write, orders:read]
trusted_issuers:
  https://cluster.example.com:
    name: Cluster
clients:
  shop:
    name: Shop
    grant_types: [authorization_code, refresh_token]
    redirect_uris: [https://shop.example.com/callback]
    scope: openid orders:read
    audiences: [https://orders.example.com]
  gateway:
    grant_types: [urn:ietf:params:oauth:grant-type:token-exchange]
policies:
  gateway:
    token_exchange:
      https://orders.example.com: [orders:read]
"""


def events(db: Database) -> list[AuditEvent]:
    with db.transaction() as session:
        return list(session.exec(select(AuditEvent).order_by(col(AuditEvent.id))))


def names(db: Database, column: Any) -> set[str]:
    with db.transaction() as session:
        return set(session.exec(select(column)))


def test_what_a_file_says_is_made_by_the_functions_of_the_api_and_audited(
    identity: Identity, apply: Apply, db: Database
) -> None:
    done = apply(SHOP)
    assert (done.code, done.err) == (0, "Set default: 7 added, 0 unchanged.\n"), done
    assert [line for line in done.out.splitlines() if not line.startswith(" ")] == [
        "+ scope orders:read",
        "+ scope orders:write",
        "+ scope reports",
        "+ role clerk",
        "+ trusted issuer https://cluster.example.com",
        "+ client gateway",
        "+ client shop",
    ]
    assert "    audience: https://orders.example.com" in done.out
    shop = json.loads(identity("clients", "show", "shop", "--json").out)
    assert shop["redirect_uris"] == ["https://shop.example.com/callback"]
    assert (shop["scopes"], shop["secrets"]) == (["openid", "orders:read"], [])
    gateway = json.loads(identity("clients", "show", "gateway", "--json").out)
    assert gateway["token_exchange"] == {"https://orders.example.com": ["orders:read"]}
    made = [event for event in events(db) if event.event.endswith((".created", ".applied"))]
    made = [event for event in made if event.event != "user.created"]
    assert {(event.actor_type, event.request_id) for event in made} == {("cli", made[0].request_id)}
    assert all(event.actor for event in made)
    assert [event.subject for event in made] == [
        "orders:read", "orders:write", "reports", "clerk", made[4].subject, "gateway", "shop",
        "default",
    ]  # fmt: skip
    assert made[-1].detail == {"added": 7, "changed": 0, "adopted": 0, "removed": 0}


def test_applied_again_nothing_is_done_and_nothing_asked(
    identity: Identity, write: Callable[..., Path], apply: Apply, db: Database
) -> None:
    apply(SHOP)
    before = len(events(db))
    done = identity("apply", str(write(SHOP)))  # no --yes: there is nothing to ask
    assert (done.code, done.out, done.err) == (0, "", "Set default: 7 unchanged.\n")
    assert len(events(db)) == before
    assert identity("apply", str(write(SHOP)), "--dry-run").code == 0


def test_what_changes_is_shown_by_member_and_what_is_left_out_gets_its_default(
    identity: Identity, apply: Apply
) -> None:
    apply(SHOP)
    changed = SHOP.replace("https://shop.example.com/callback", "https://new.example.com/cb")
    changed = changed.replace("    name: Shop\n", "").replace("[orders:write, orders:read]", "[]")
    done = apply(changed)
    assert done.code == 0
    assert done.out.splitlines() == [
        "~ role clerk",
        '    scopes: ["orders:read", "orders:write"] -> (default)',
        "~ client shop",
        "    redirect_uris: + https://new.example.com/cb, - https://shop.example.com/callback",
        "    name: Shop -> (default)",
    ]
    assert done.err == "Set default: 2 changed, 5 unchanged.\n"
    assert json.loads(identity("clients", "show", "shop", "--json").out)["name"] == "shop"
    plan = json.loads(apply(SHOP, "--dry-run", "--json").out)
    (role, client) = plan["steps"]
    assert role["changes"] == {"scopes": {"before": None, "after": ["orders:read", "orders:write"]}}
    assert (client["action"], client["kind"], client["name"]) == ("change", "client", "shop")
    assert re.fullmatch(r".*/shop\.yaml:16", client["place"])


def test_without_a_terminal_it_takes_yes(
    identity: Identity, write: Callable[..., Path], db: Database
) -> None:
    done = identity("apply", str(write(SHOP)))
    assert done.code == 2
    assert "--yes" in done.err
    assert done.out.startswith("+ scope orders:read")
    assert "shop" not in names(db, Client.id)


def test_a_terminal_is_asked_and_what_was_agreed_to_is_what_is_done(
    identity: Identity,
    write: Callable[..., Path],
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = str(write(SHOP))
    asked = []

    def meanwhile(question: str, *, yes: bool) -> None:
        asked.append(question)
        assert identity("scopes", "create", "reports").code == 0

    monkeypatch.setattr(command, "sure", meanwhile)
    done = identity("apply", file)
    assert done.code == 1
    assert "something has changed meanwhile" in done.err
    assert "shop" not in names(db, Client.id)
    monkeypatch.setattr(command, "sure", lambda question, *, yes: asked.append(question))
    assert identity("apply", file, "--adopt").code == 0
    assert len(asked) == 2
    assert all("Apply this to " in question for question in asked)

    def by_hand(question: str, *, yes: bool) -> None:
        assert identity("clients", "update", "shop", "--name", "Another").code == 0

    monkeypatch.setattr(command, "sure", by_hand)
    done = identity("apply", str(write(SHOP.replace("name: Shop", "name: Store"))))
    assert (done.code, "something has changed meanwhile" in done.err) == (1, True)


def test_a_dry_run_does_it_all_and_takes_it_back(apply: Apply, db: Database) -> None:
    before = len(events(db))
    done = apply(SHOP, "--dry-run")
    assert (done.code, done.err) == (3, "Set default: 7 added, 0 unchanged.\n")
    assert "shop" not in names(db, Client.id)
    assert len(events(db)) == before
    assert names(db, Configured.name) == set()
    # What only the database knows is refused as it would be.
    done = apply("roles: {clerk: {scopes: [nowhere]}}", "--dry-run")
    assert (done.code, "no such scope: nowhere" in done.err) == (1, True)


# --- Whose is what --------------------------------------------------------------------------


def test_what_was_made_by_hand_is_taken_over_only_when_told_so(
    identity: Identity, apply: Apply
) -> None:
    identity("scopes", "create", "reports")
    identity("roles", "create", "clerk", "--description", "By hand")
    same = "scopes: {reports: {}}\nroles: {clerk: {description: By hand}}"
    assert apply(same).err == "Set default: 2 unchanged.\n"
    done = apply("scopes: {reports: {}}\nroles:\n  clerk: {description: By file}")
    assert (done.code, done.out) == (1, "")
    assert "shop.yaml:3: /roles/clerk: is there already, and this set has not made it" in done.err
    done = apply("roles: {clerk: {description: By file}}", "--adopt")
    assert done.out.splitlines() == [
        "~ role clerk (taken over)", "    description: By hand -> By file",
    ]  # fmt: skip
    # It is the set's now, which may change it, and never removes it.
    assert apply("roles: {clerk: {description: Again}}").code == 0
    done = apply("{}", "--prune")
    assert done.out == "= role clerk (not made by this set, and left as it is)\n"
    assert json.loads(identity("roles", "show", "clerk", "--json").out)["description"] == "Again"
    assert apply("{}", "--prune").out == ""
    assert apply("roles: {clerk: {}}").code == 1


def test_one_set_does_not_touch_what_another_has_made(identity: Identity, apply: Apply) -> None:
    apply("set: one\nroles: {clerk: {}, boss: {}}")
    done = apply("set: two\nroles: {clerk: {}}")
    assert "/roles/clerk: belongs to the set one; --adopt takes it over" in done.err
    assert apply("set: two", "--prune").err == "Set two: 0 unchanged.\n"
    assert apply("set: two\nroles: {clerk: {}}", "--adopt").code == 0
    # Nobody who made it has it, so nobody removes it.
    done = apply("set: one", "--prune")
    assert done.out == "- role boss\n"
    done = apply("set: two", "--prune")
    assert done.out.startswith("= role clerk")
    assert {role["name"] for role in json.loads(identity("roles", "list", "--json").out)} == {
        "admin", "clerk",
    }  # fmt: skip


def test_pruning_takes_what_the_set_has_made_and_its_files_have_no_longer(
    identity: Identity, apply: Apply, db: Database
) -> None:
    apply(SHOP)
    identity("roles", "create", "handmade", "--scope", "orders:read")
    assert apply("{}").err == "Set default: 0 unchanged.\n"
    done = apply("scopes: {reports: {}}", "--prune")
    assert done.out.splitlines() == [
        "- client gateway",
        "- client shop",
        "- trusted issuer https://cluster.example.com",
        "- role clerk",
        "- scope orders:read",
        "    lost by 3 roles, 1 client",
        "- scope orders:write",
        "    lost by 2 roles",
    ]
    assert done.err == "Set default: 6 removed, 1 unchanged.\n"
    assert names(db, Client.id) == {"first-party"}
    assert names(db, Role.name) == {"admin", "handmade"}
    assert "orders:read" not in names(db, RoleScope.scope)
    assert names(db, Configured.name) == {"reports"}


def test_what_somebody_has_changed_since_is_theirs(identity: Identity, apply: Apply) -> None:
    apply("roles: {clerk: {}, boss: {}}\nscopes: {reports: {}}")
    identity("roles", "update", "clerk", "--description", "Mine")
    done = apply("scopes: {reports: {}}", "--prune")
    assert done.out.splitlines() == [
        "- role boss",
        "= role clerk (changed by somebody since, so it is left to them)",
    ]
    assert "clerk" in identity("roles", "list").out
    assert apply("scopes: {reports: {}}", "--prune").out == ""


def test_what_a_file_and_a_hand_agree_on_is_the_sets_as_before(
    identity: Identity, apply: Apply
) -> None:
    apply("roles: {clerk: {}}")
    identity("roles", "update", "clerk", "--description", "Agreed")
    done = apply("roles: {clerk: {description: Agreed}}")
    assert (done.out, done.err) == ("", "Set default: 1 unchanged.\n")
    assert apply("{}", "--prune").out == "- role clerk\n"


def test_what_was_made_by_hand_after_a_deletion_is_not_the_sets(
    identity: Identity, apply: Apply
) -> None:
    apply("roles: {clerk: {}}\nclients: {shop: {}}\ntrusted_issuers: {'https://a.example': {}}")
    for noun, name in (
        ("roles", "clerk"), ("clients", "shop"), ("trusted-issuers", "https://a.example"),
    ):  # fmt: skip
        assert identity(noun, "delete", name, "--yes").code == 0
        assert identity(noun, "create", name).code == 0
    assert apply("{}", "--prune").out == ""
    assert apply("roles: {clerk: {acr: aal2}}").code == 1


def test_what_is_built_in_is_changed_where_it_can_be_and_never_removed(
    identity: Identity, apply: Apply, db: Database
) -> None:
    done = apply(
        "roles: {admin: {description: Everything, acr: aal2}}\n"
        "scopes: {account: {description: Your account}}\n"
        "clients: {first-party: {status: disabled, type: public, scopes: ['*']}}"
    )
    assert (done.code, done.err) == (0, "Set default: 3 changed, 0 unchanged.\n")
    with db.transaction() as session:
        admin = session.get_one(Role, "admin")
        assert (admin.description, admin.acr) == ("Everything", "aal2")
        assert session.get_one(Client, "first-party").status == "disabled"
        held = session.exec(select(RoleScope.scope).where(RoleScope.role == "admin")).all()
    assert "users:write" in held
    done = apply("{}", "--prune")
    assert [line[0] for line in done.out.splitlines()] == ["=", "=", "="]
    assert {"first-party"} == names(db, Client.id)
    for text, words in (
        ("roles: {admin: {scopes: [account]}}", "cannot be chosen"),
        ("scopes: {account: {open_to_registered: true}}", "not to be chosen"),
        ("resources: {'https://a': {scopes: {account: {}}}}", "belongs to this service"),
        ("clients: {first-party: {}}", "it is public, and a client stays what it is"),
    ):
        done = apply(text)
        assert (done.code, words in done.err) == (1, True), done


def test_clients_that_registered_themselves_are_nobodys_to_describe(
    identity: Identity, apply: Apply, db: Database
) -> None:
    with db.transaction() as session:
        session.add(Client(id="app", name="App", type="public", self_registered=True))
    for options in ((), ("--adopt",), ("--prune",)):
        done = apply("clients: {app: {type: public}}", *options)
        assert (done.code, "has registered itself" in done.err) == (1, True)
    assert apply("{}", "--prune").out == ""
    exported = identity("export")
    assert "app:" not in exported.out
    assert "registered themselves, and are left out: 1" in exported.err


# --- Secrets --------------------------------------------------------------------------------


def test_secrets_are_referred_to_and_one_that_has_changed_is_noticed(
    identity: Identity,
    apply: Apply,
    tmp_path: Path,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "clients:\n  shop:\n    secrets:\n      - env: SHOP_SECRET\n"
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    done = apply(text)
    assert (done.code, "secrets: + ..wxyz" in done.out) == (0, True)
    assert apply(text).err == "Set default: 1 unchanged.\n"
    (tmp_path / "new").write_text(f"{OTHER}\n")
    done = apply(f"{text}      - file: new\n")
    assert done.out == "~ client shop\n    secrets: + ..3210\n"
    monkeypatch.setenv("SHOP_SECRET", OTHER)
    done = apply(text)
    assert done.out == "~ client shop\n    secrets: - ..wxyz\n"
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    done = apply(text, "--json")
    (step,) = json.loads(done.out)["steps"]
    assert step["secrets"] == {"added": ["wxyz"], "removed": ["3210"]}
    monkeypatch.setenv("SHOP_SECRET", "correct horse battery staple")
    done = apply(text)
    assert (done.code, "must be 32 to 200" in done.err, "horse" in done.err) == (1, True, False)
    monkeypatch.setenv("SHOP_SECRET", "a" * 40)
    assert "must be random" in apply(text).err
    told = json.dumps([event.detail for event in events(db)])
    for each in (SECRET, OTHER):
        assert each not in told + identity("export").out + done.out + done.err


def test_secrets_that_no_file_names_are_not_looked_at(identity: Identity, apply: Apply) -> None:
    apply("clients: {shop: {}}")
    assert identity("clients", "rotate-secret", "shop").code == 0
    assert apply("clients: {shop: {}}").err == "Set default: 1 unchanged.\n"
    assert "secrets: - .." in apply("clients: {shop: {secrets: []}}").out
    assert "secrets are not in it" not in identity("export").err
    done = apply("clients: {spa: {type: public, secrets: [{env: HOME}]}}")
    assert done.code == 1


async def test_a_secret_that_was_applied_lets_the_client_in_and_one_taken_away_no_longer(
    api: Any, identity: Identity, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "clients: {shop: {grant_types: [client_credentials], secrets: [{env: SHOP_SECRET}]}}"

    async def ask(secret: str) -> int:
        form = {"grant_type": "client_credentials"}
        answer = await api.post("/token", data=form, auth=("shop", secret))
        return int(answer.status_code)

    monkeypatch.setenv("SHOP_SECRET", SECRET)
    assert apply(text).code == 0
    assert await ask(SECRET) == 200
    monkeypatch.setenv("SHOP_SECRET", OTHER)
    assert apply(text).code == 0
    assert (await ask(SECRET), await ask(OTHER)) == (401, 200)


# --- Revocation -----------------------------------------------------------------------------


async def test_what_is_pruned_is_lost_at_once_by_who_used_it(
    api: Any, world: Any, identity: Identity, apply: Apply, db: Database
) -> None:
    text = """
resources: {'https://orders.example.com': {scopes: {orders:read: }}}
roles: {clerk: {scopes: [orders:read]}}
"""
    assert apply(text).code == 0
    assert identity("users", "create", "ada", "--password-stdin", "--role", "clerk",
                    stdin="correct horse battery staple").code == 0  # fmt: skip
    form = {"grant_type": "password", "username": "ada",
            "password": "correct horse battery staple", "scope": "orders:read"}  # fmt: skip
    answer = await api.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    identity("clients", "create", "desk", "--audience", "https://orders.example.com", "--json")
    secret = json.loads(identity("clients", "rotate-secret", "desk", "--json").out)["client_secret"]

    async def scopes() -> str:
        asked = await api.post("/introspect", data={"token": token}, auth=("desk", secret))
        return str(asked.json().get("scope", ""))

    assert await scopes() == "orders:read"
    done = apply("{}", "--prune")
    assert done.out.splitlines() == [
        "- role clerk", "    lost by 1 user", "- scope orders:read", "    lost by 2 roles, 2 users",
    ]  # fmt: skip
    assert await scopes() == ""
    with db.transaction() as session:
        kinds = set(session.exec(select(Change.kind)))
    assert kinds >= {"user.narrowed", "role.changed", "scope.changed"}


def test_a_client_that_loses_an_audience_or_is_removed_loses_its_sessions(
    identity: Identity, apply: Apply, db: Database
) -> None:
    apply(SHOP)
    identity("users", "create", "ada", "--generate")
    later = utcnow() + timedelta(days=1)
    with db.transaction() as session:
        user = session.exec(select(User.id)).first()
        for n, audience in enumerate(("https://orders.example.com", "https://us.example.com")):
            session.add(LoginSession(
                id=f"s{n}", user_id=user, client_id="shop", scope="", audience=audience, amr=[],
                expires_at=later, access_expires_at=later,
            ))  # fmt: skip

    def live() -> set[str]:
        with db.transaction() as session:
            query = select(LoginSession.id).where(col(LoginSession.ended_at).is_(None))
            return set(session.exec(query))

    without = SHOP.replace("    audiences: [https://orders.example.com]\n", "")
    assert apply(without).code == 0
    assert live() == {"s1"}
    assert apply("{}", "--prune").code == 0
    assert live() == set()


def test_a_renamed_scope_is_another_one(apply: Apply, db: Database) -> None:
    apply("scopes: {a: }\nroles: {r: {scopes: [a]}}")
    done = apply("scopes: {b: }\nroles: {r: {scopes: [b]}}", "--prune")
    assert done.out.splitlines() == [
        "+ scope b", "~ role r", "    scopes: + b, - a", "- scope a", "    lost by 2 roles",
    ]  # fmt: skip
    assert "a" not in names(db, Scope.name)


def test_what_would_not_stay_as_it_is_is_refused(
    identity: Identity, apply: Apply, db: Database
) -> None:
    apply("scopes: {a: }\nroles: {r: {}}")
    done = apply("roles:\n  r: {scopes: [a]}", "--prune")
    assert done.code == 1
    assert "shop.yaml:2: /roles/r: it would not stay as it is here: scopes" in done.err
    assert "a" in names(db, Scope.name)
    assert identity("roles", "show", "r").code == 0
