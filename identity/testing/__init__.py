"""A pytest plugin for the test suites of sibling services that want the real service.

    def test_an_order_is_read(identity_service):
        identity_service.user("alice", scopes=["orders:read"])
        token = identity_service.token("alice")

`identity.verifier.testing` has the fixtures that need no server. Nothing is imported before a test
asks for the fixture: every test run on the machine loads this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from identity.verifier import testing as formerly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from identity.testing.service import Service

__all__ = ["Service"]


def __getattr__(name: str) -> object:
    if name != "Service":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from identity.testing.service import Service

    return Service


formerly.MOVED["Service"] = (__name__, lambda: __getattr__("Service"))


@pytest.fixture(scope="session")
def _identity_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied by every service of the run."""
    from identity.testing.service import make_template

    return make_template(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def identity_service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The real service in this process, on SQLite; skipped where the extra `server` is missing."""
    from identity.testing.service import Service, missing

    if absent := missing():
        pytest.skip(f"identity_service needs `pip install 'identity-service[server]'` ({absent})")
    template: Path = request.getfixturevalue("_identity_template")
    with Service(template, tmp_path) as service:
        yield service
