"""`make bench-against`, in short form: it judges no time."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.databases import ROOT

pytestmark = [
    pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository's history"),
]


def against(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.against", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_job_is_measured_beside_the_same_job_at_a_commit() -> None:
    short = ["--rounds", "1", "--requests", "40", "--only", "metadata", "--on", "sqlite"]
    ran = against("HEAD", *short)
    assert ran.returncode == 0, ran.stderr
    idle, row = [line for line in ran.stdout.splitlines() if "sqlite" in line]
    assert re.fullmatch(r"\| a second without requests, sqlite \| \d+ \| \d+ \| \| \|", idle)
    found = re.fullmatch(
        r"\| metadata, sqlite \| (\d+) \| (\d+) \| (\d+\.\d\d) \| (\d+\.\d\d) \|", row
    )
    assert found is not None, row
    assert all(float(number) > 0 for number in found.groups())


def test_a_commit_that_there_is_not_is_an_error() -> None:
    ran = against("no-such-commit", "--on", "sqlite")
    assert ran.returncode != 0
    assert "no-such-commit" in ran.stderr
