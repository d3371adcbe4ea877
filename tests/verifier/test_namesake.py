"""`pip install identity` installs another project's files; whoever has both is told so."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from identity.cli.doctor.checkup import _namesake
from identity.verifier import namesake
from tests.databases import ROOT, environment

FIRST_IMPORT = "import identity.verifier; print('imported')"


def first_import(site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FIRST_IMPORT]
    where = environment() | {"PYTHONPATH": str(site)}
    return subprocess.run(
        command, env=where, cwd=site, capture_output=True, text=True, check=True, timeout=60
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A place where our package is installed."""
    shutil.copytree(
        ROOT / "identity" / "verifier", tmp_path / "identity" / "verifier",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    shutil.copy(ROOT / "identity" / "__init__.py", tmp_path / "identity")
    return tmp_path


def test_ours_alone_says_nothing(site: Path) -> None:
    assert first_import(site).stderr == ""
    assert not list(_namesake(site / "identity"))
    assert not namesake.foreign_files()


@pytest.mark.parametrize("last", ["theirs", "ours"])
def test_the_first_import_beside_the_other_project_says_so_in_words(site: Path, last: str) -> None:
    wheel = site / "identity-0.11.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as theirs:  # as the other one is laid out
        for name in ("django", "flask", "pallet", "quart", "web"):
            theirs.writestr(f"identity/{name}.py", "")
        theirs.writestr("identity/version.py", '__version__ = "0.11.0"')
        if last == "theirs":
            theirs.writestr("identity/__init__.py", "from .version import __version__")
    zipfile.ZipFile(wheel).extractall(site)
    ran = first_import(site)
    assert ran.stdout == "imported\n"
    assert "RuntimeWarning" in ran.stderr
    for words in ("another project", "identity-service", "pip uninstall"):
        assert words in ran.stderr


def test_doctor_says_so_too(site: Path) -> None:
    (site / "identity" / "web.py").touch()
    (finding,) = _namesake(site / "identity")
    assert (finding.level, finding.what) == ("problem", "packages")
    assert "another project's" in finding.words
    assert "identity-service" in finding.mend
