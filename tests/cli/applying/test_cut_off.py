"""All of it or nothing: whatever is wrong at the end, and whoever is killed in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from identity.cli.applying import doing
from identity.cli.applying import files as reading
from identity.cli.applying.command import house
from identity.cli.applying.planning import Plan, Way, plan
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.store import Database
from tests.cli.applying.test_apply import SHOP, events, names
from tests.databases import environment

Apply = Callable[..., Any]
KILLED = """
import os, signal, sys
from identity.cli import run
from identity.directory.clients import accounts

def create(*args, **options):
    if options["client_id"] == "shop":  # the last of all
        os.kill(os.getpid(), signal.SIGKILL)
    return made(*args, **options)

made, accounts.create = accounts.create, create
sys.exit(run(["apply", "shop.yaml", "--yes"]))
"""


def test_whoever_is_killed_in_the_middle_has_done_nothing(
    apply: Apply, environ: dict[str, str], write: Callable[..., Path], db: Database, tmp_path: Path
) -> None:
    write(SHOP)
    plain = {name.removeprefix("IDENTITY_"): value for name, value in environ.items()}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=environment(**plain), timeout=120,
        capture_output=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not {"shop", "gateway"} & names(db, Client.id)
    assert not [event for event in events(db) if event.event == "scope.created"]
    assert apply(SHOP).err == "Set default: 7 added, 0 unchanged.\n"


def test_a_client_whose_id_is_a_users_is_refused_and_nothing_else_done(
    identity: Callable[..., Any], apply: Apply, db: Database
) -> None:
    assert identity("users", "create", "ada", "--generate").code == 0
    with db.transaction() as session:
        user_id = session.exec(select(User.id).where(User.username == "ada")).one()
    done = apply(f"roles: {{clerk: {{}}}}\nclients:\n  {user_id}: {{}}\n")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(f"shop.yaml:3: /clients/{user_id}: the client id is taken\n")
    assert "clerk" not in identity("roles", "list").out
    shouted = apply(f"clients: {{{user_id.upper()}: {{}}}}")
    assert (shouted.code, "must spell a UUID in small letters" in shouted.err) == (1, True)


def test_of_many_at_once_each_finds_what_the_one_before_has_done(
    apply: Apply, write: Callable[..., Path], db: Database, settings: Any
) -> None:
    """Each adds its own, and all of them the same one."""
    assert apply("{}").code == 0
    files = [
        write(f"scopes: {{same: }}\nroles: {{r{n}: {{scopes: [same]}}}}\n", f"{n}.yaml")
        for n in range(6)
    ]

    def one(file: Path) -> Plan:
        wanted, way = reading.read([file]), Way()
        with db.transaction() as session:
            doing.prepare(session)
            made = plan(session, wanted, way)
            doing.carry_out(session, wanted, made, way, house(settings))
        return made

    with ThreadPoolExecutor(6) as threads:
        plans = [done.result(60) for done in [threads.submit(one, file) for file in files]]
    added = [step.name for made in plans for step in made.visible]
    assert sorted(added) == ["r0", "r1", "r2", "r3", "r4", "r5", "same"]


def test_a_role_may_hold_what_administers_for_who_runs_the_command_is_the_operator(
    apply: Apply, db: Database
) -> None:
    """As `identity roles create`: nothing is withheld from them, and all of it is on record."""
    assert apply("roles: {boss: {scopes: ['users:write', 'roles:write']}}").code == 0
    (made,) = [event for event in events(db) if event.event == "role.created"]
    assert (made.actor_type, made.subject) == ("cli", "boss")
    assert made.detail["scopes"] == ["roles:write", "users:write"]


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_many_clients_are_one_transaction(apply: Apply, db: Database) -> None:
    text = "clients:\n" + "".join(
        f"  c{n}:\n    redirect_uris: [https://c{n}.example.com/callback]\n" for n in range(50)
    )
    assert apply(text).err == "Set default: 50 added, 0 unchanged.\n"
    assert apply(text).err == "Set default: 50 unchanged.\n"
    made = [event for event in events(db) if event.event == "client.created"]
    assert len(made) == 50 and len({event.request_id for event in made}) == 1
    assert apply("{}", "--prune").err == "Set default: 50 removed, 0 unchanged.\n"


def test_a_secrets_file_may_be_none_or_never_end(
    apply: Apply,
) -> None:
    done = apply("clients: {shop: {secrets: [{file: .}]}}")
    assert (done.code, "Is a directory" in done.err) == (1, True)
    if os.path.exists("/dev/zero"):
        done = apply("clients: {shop: {secrets: [{file: /dev/zero}]}}")
        assert (done.code, "must be 32 to 200" in done.err) == (1, True)
