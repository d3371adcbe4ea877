"""What tests of pages in a real browser share."""

import os
from pathlib import Path

import pytest

from tests.interop.npm import at_hand, installed


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """Of axe-core, which is npm's: for tests alone, and no part of the project. `make parties` gets
    it; from then on it is at hand, and every run of the tests looks with it."""
    package = Path(__file__).parent / "axe" / "package.json"
    folder = at_hand(package, request.config)
    if folder is None:
        if "PARTIES" not in os.environ:
            pytest.skip("axe comes from npm: `make parties` gets it")
        folder = installed(package, request.config)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()
