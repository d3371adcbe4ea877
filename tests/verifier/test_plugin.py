"""The pytest plugin as a sibling's test suite meets it: in a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "identity.testing"

SUITE = """
import asyncio

import pytest

from identity.verifier import Expired, InsufficientScope, Revoked, StaleKnowledge, UnknownKey


def run(test):
    asyncio.run(test())


def test_minted_tokens_are_verified_by_the_real_verifier(issuer):
    async def test():
        async with issuer.verifier("https://orders.example") as verifier:
            good = issuer.token("alice", "orders:read", audience="https://orders.example")
            assert (await verifier.verify(good, "orders:read")).subject == "alice"
            with pytest.raises(InsufficientScope):
                await verifier.verify(good, "orders:write")
            old = issuer.token(expires_in=-1, audience="https://orders.example")
            with pytest.raises(Expired):
                await verifier.verify(old)
    run(test)


@pytest.mark.parametrize("how", ["token", "session", "subject", "client", "key"])
def test_a_revocation_is_known_when_revoke_returns(issuer, how):
    with issuer.sync_verifier() as verifier:
        token = issuer.token("bob", client_id="app", session="s")
        other = issuer.token("eve", client_id="other", session="t")
        verifier.verify(token)
        issuer.clock.tick(2)
        what = {"token": token, "session": "s", "subject": "bob", "client": "app",
                "key": issuer.kid}
        issuer.revoke(**{how: what[how]})
        # A revoked key leaves the key set as well, and which is noticed first is all one.
        with pytest.raises((Revoked, UnknownKey) if how == "key" else Revoked):
            verifier.verify(token)
        if how != "key":
            verifier.verify(other)
        again = issuer.token("bob", client_id="app", session="s2")
        verifier.verify(again)


def test_time_goes_on_when_the_test_says_so(issuer):
    with issuer.sync_verifier() as verifier:
        token = issuer.token(expires_in=60)
        issuer.clock.tick(89)
        assert verifier.verify(token)
        issuer.clock.tick(1)
        with pytest.raises(Expired):
            verifier.verify(token)


def test_an_outage(issuer):
    with issuer.sync_verifier() as verifier:
        token = issuer.token()
        with issuer.down():
            assert verifier.verify(token)
            issuer.clock.tick(6)
            with pytest.raises(StaleKnowledge):
                verifier.verify(token)
            issuer.revoke(token)
        with pytest.raises(Revoked):
            verifier.verify(token)


def test_every_test_has_an_issuer_of_its_own(issuer):
    assert issuer.ledger.entries == []
"""

SERVICE = """
def test_the_real_service(identity_service):
    identity_service.user("alice", scopes=["orders:read"])
    with identity_service.sync_verifier() as verifier:
        assert verifier.verify(identity_service.token("alice"), "orders:read").username == "alice"
"""

OWN_TABLES = """
from sqlmodel import Field, SQLModel


class Client(SQLModel, table=True):
    id: int = Field(primary_key=True)


def test_tables_of_this_service(identity_service):
    class Session(SQLModel, table=True):
        id: int = Field(primary_key=True)

    assert {*SQLModel.metadata.tables} == {"client", "session"}
    assert Session.__pydantic_complete__
"""

FORMER_NAME = """
import pytest


def test_the_former_name(identity_service):
    with pytest.deprecated_call(match="moved from identity.verifier.testing to identity.testing"):
        from identity.verifier.testing import Service
    assert isinstance(identity_service, Service)
"""

WITHOUT_SERVER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sqlmodel":
            raise ModuleNotFoundError("No module named 'sqlmodel'", name="sqlmodel")

sys.meta_path.insert(0, Blocked())
"""


def pytest_run(folder: Path, suite: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-p", "no:schemathesis"]  # this project's tests need it, and it takes a second
    registered = {point.name for point in entry_points(group="pytest11")}
    plugins = {"identity_verifier": "identity.verifier.testing", "identity_service": PLUGIN}
    missing = [module for name, module in plugins.items() if name not in registered]
    return subprocess.run(
        [*command, *(part for module in missing for part in ("-p", module)), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_siblings_suite_needs_no_network_and_no_server(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, SUITE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "9 passed" in ran.stdout


def test_the_real_service_is_a_fixture_away(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, SERVICE)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_real_service_leaves_tables_of_the_same_names_alone(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, OWN_TABLES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_services_former_name_still_works_and_says_the_new_one(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, FORMER_NAME)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_without_the_server_its_fixture_skips_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(WITHOUT_SERVER)
    ran = pytest_run(tmp_path, SERVICE)
    assert "1 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert "identity-service[server]" in ran.stdout
    assert "sqlmodel" in ran.stdout


@pytest.mark.parametrize("fixture", ["issuer", "identity_service"])
def test_the_fixtures_are_listed_with_what_they_are(tmp_path: Path, fixture: str) -> None:
    ran = pytest_run(tmp_path, "", "--fixtures")
    assert fixture in ran.stdout


def test_a_client_that_acts_for_itself_is_told_from_a_user(issuer: Any) -> None:
    with issuer.sync_verifier() as verifier:
        own = verifier.verify(issuer.token("robot", client_id="robot"))
        assert (own.is_client, own.username, own.session, own.roles) == (True, None, None, ())
        user = verifier.verify(issuer.token("alice", client_id="robot"))
        assert (user.is_client, user.username) == (False, "alice")
        # Of an issuer that let the two meet: whose session it is, is a user.
        assert not verifier.verify(issuer.token("x", client_id="x", session="s")).is_client
