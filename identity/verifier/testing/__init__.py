"""A pytest plugin for the test suites of sibling services; installed with the package.

    async def test_orders_need_a_scope(issuer):
        async with issuer.verifier("https://orders.example") as verifier:
            with pytest.raises(InsufficientScope):
                await verifier.verify(issuer.token(scope="orders:write"), "orders:read")

`issuer` is an `Issuer` within the test process: no network, no server, and a clock that the test
moves. `identity_service` is the real service on a database of its own.

Nothing is imported before a test asks for a fixture: every test run on the machine loads this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from identity.verifier.testing.clock import MovableClock
    from identity.verifier.testing.issuer import Issuer
    from identity.verifier.testing.service import Service

__all__ = ["Issuer", "MovableClock", "Service"]

_HOMES = {"Issuer": "issuer", "MovableClock": "clock", "Service": "service"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


@pytest.fixture
def issuer() -> Issuer:
    """An issuer of its own for every test. See `Issuer`."""
    from identity.verifier.testing.issuer import Issuer

    return Issuer()


@pytest.fixture(scope="session")
def _identity_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied by every service of the run."""
    from identity.verifier.testing.service import make_template

    return make_template(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def identity_service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The real service in this process, on SQLite; skipped where the extra `server` is missing."""
    from identity.verifier.testing.service import Service, missing

    if absent := missing():
        pytest.skip(f"identity_service needs `pip install 'identity-service[server]'` ({absent})")
    template: Path = request.getfixturevalue("_identity_template")
    with Service(template, tmp_path) as service:
        yield service
