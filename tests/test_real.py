"""Which tests start processes is said by name, of tests that are there, and CI runs them all."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.real import FIXTURES, SAMPLE, TESTS

MARKERS = ("again", "fuzz", "proof", "real", "sample", "slow")


@pytest.mark.parametrize("begin", [*TESTS, *SAMPLE])
def test_every_name_is_the_beginning_of_one(begin: str) -> None:
    path, _, name = begin.partition("::")
    assert f"def {name}" in (ROOT / path).read_text()


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_fixture_is_there(fixture: str) -> None:
    module, _, name = fixture.partition(":")
    source = Path(ROOT, *module.split(".")).with_suffix(".py").read_text()
    assert re.search(rf"@pytest\.fixture[^\n]*\ndef {name}\(", source)


def test_who_says_nothing_is_refused_a_process() -> None:
    with pytest.raises(RuntimeError, match="does not say"):
        subprocess.run([sys.executable, "-V"])


def test_ci_leaves_nobody_out_whatever_a_test_is_marked() -> None:
    """Each test is in at least one of the commands that CI makes, and in `make test` is nothing
    that is real, but for the sample."""
    ci = re.search(r"^make check (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert ci
    recipes = (ROOT / "Makefile").read_text()
    chosen = {}
    for command in ci[1].split():
        recipe = re.search(rf'^{command}:.*\n.*pytest.* -m "([^"]*)"', recipes, re.MULTILINE)
        assert recipe, command
        chosen[command] = compile(recipe[1], command, "eval")
    for values in product((False, True), repeat=len(MARKERS)):
        marked = dict(zip(MARKERS, values, strict=True))
        found = {command for command, those in chosen.items() if eval(those, {}, marked)}
        assert found, marked
        assert "test" not in found or not marked["real"] or marked["sample"]
