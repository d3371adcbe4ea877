"""Packages of npm for tests that have node: installed once into pytest's own cache, offline from
then on. Nothing of them is in the repository, and no address of a registry either."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

WITHIN = 120.0  # seconds


def at_hand(package: Path, config: pytest.Config) -> Path | None:
    """As `installed`, but only what an earlier run has got: nothing is asked of anybody."""
    if config.cache is None:
        return None
    wanted = package.read_bytes()
    kept = config.cache.mkdir(f"npm-{hashlib.sha256(wanted).hexdigest()[:12]}")
    return kept if (kept / "complete").exists() else None


def installed(package: Path, config: pytest.Config) -> Path:
    """A folder like that of this package.json, with the modules that it names beside its files.
    Skips the test where there is no node, or no way to get them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node and npm here (apt-get install nodejs npm)")
    if config.cache is None:
        pytest.skip("pytest runs without its cache, where packages of npm are kept")
    wanted = package.read_bytes()
    kept = config.cache.mkdir(f"npm-{hashlib.sha256(wanted).hexdigest()[:12]}")
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes
        if not (kept / "complete").exists():
            shutil.rmtree(kept / "node_modules", ignore_errors=True)
            (kept / "package.json").write_bytes(wanted)
            _install(npm, kept)
            (kept / "complete").touch()
    return kept


def _install(npm: str, folder: Path) -> None:
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    options += ["--prefer-offline", "--fetch-retries=1", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(
            [npm, "install", "--loglevel=error", *options],
            cwd=folder,
            env=os.environ | {"NO_UPDATE_NOTIFIER": "1"},
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not get the packages within {WITHIN:.0f} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot get the packages: {done.stderr.strip().splitlines()[:1]}")
