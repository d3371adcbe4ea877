"""pytest as a sibling's developer runs it, with the plugin that the package registers."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from tests.databases import environment

LEFT_OUT = ("-p", "no:schemathesis")
"""Of the plugins that this project's tests need: it takes a second to load."""


def pytest_run(folder: Path) -> subprocess.CompletedProcess[str]:
    """All tests in `folder`; the plugin is named where this project is not installed."""
    registered = any(each.name == "identity_verifier" for each in entry_points(group="pytest11"))
    plugin = [] if registered else ["-p", "identity.verifier.testing"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *LEFT_OUT, *plugin],
        cwd=folder,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
