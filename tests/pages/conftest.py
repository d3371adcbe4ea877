"""What looks at pages beside us."""

import os
from pathlib import Path

import pytest

from tests.interop.npm import installed


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest) -> str:
    """Of axe-core, which is npm's: for tests alone, and no part of the project."""
    if "PARTIES" not in os.environ:
        pytest.skip("axe comes from npm, and looks at the pages in `make parties` alone")
    package = Path(__file__).parent / "axe" / "package.json"
    folder = installed(package, request.config) / "node_modules" / "axe-core"
    return (folder / "axe.min.js").read_text()
