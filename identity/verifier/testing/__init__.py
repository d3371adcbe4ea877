"""A pytest plugin for the test suites of sibling services; installed with the package.

    async def test_orders_need_a_scope(issuer):
        async with issuer.verifier("https://orders.example") as verifier:
            with pytest.raises(InsufficientScope):
                await verifier.verify(issuer.token(scope="orders:write"), "orders:read")

`issuer` is an `Issuer` within the test process: no network, no server, and a clock that the test
moves. The real service as a fixture is `identity.testing`'s.

Nothing is imported before a test asks for a fixture: every test run on the machine loads this.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from identity.verifier.testing.clock import MovableClock
    from identity.verifier.testing.issuer import Issuer

__all__ = ["Issuer", "MovableClock"]

MOVED: dict[str, tuple[str, Callable[[], object]]] = {}
"""What went elsewhere: whoever has it now says where that is, and how to get it."""


def __getattr__(name: str) -> object:
    if name == "Issuer":
        from identity.verifier.testing.issuer import Issuer

        return Issuer
    if name == "MovableClock":
        from identity.verifier.testing.clock import MovableClock

        return MovableClock
    if name in MOVED:
        home, get = MOVED[name]
        words = f"{name} has moved from {__name__} to {home}"
        warnings.warn(words, DeprecationWarning, stacklevel=2)
        return get()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@pytest.fixture
def issuer() -> Issuer:
    """An issuer of its own for every test. See `Issuer`."""
    from identity.verifier.testing.issuer import Issuer

    return Issuer()
