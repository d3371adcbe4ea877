"""The version before this one, as it was: the last whose change feed is read by id."""

import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.databases import ROOT

COMMIT = "4be9f0e037c813967e03ca43b4dba2b5e76403ce"


def code(folder: Path) -> Path:
    """Its code, in `folder`. The test is skipped where the checkout's history does not have it."""
    archive = ["git", "archive", "--format=zip", COMMIT, "identity", "migrations"]
    try:
        taken = subprocess.run(archive, cwd=ROOT, capture_output=True)
    except OSError as error:
        pytest.skip(f"the version before is taken from git: {error}")
    if taken.returncode:
        said = taken.stderr.decode().strip().splitlines()[-1:]
        pytest.skip(f"the version before is not in this checkout (git fetch --unshallow): {said}")
    with zipfile.ZipFile(BytesIO(taken.stdout)) as archive:
        archive.extractall(folder)
    return folder
