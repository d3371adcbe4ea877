"""`make mutants` makes small changes to code, and knows each by its words."""

import ast
from pathlib import Path

import pytest

from scripts.mutants import PAGE, PLACES, explained, mutants, sample
from scripts.mutations import mutations
from tests.databases import ROOT

SOURCE = '''
"""Prose."""
LIMIT = 3

def judge(count: int, names: list[str]) -> str | None:
    """More prose, {count}."""
    if not names and count >= LIMIT:
        raise ValueError(f"{count} is more than can be")
    total = count + 1
    print("words of a sentence")
    return names[0]
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def test_code_is_changed_and_prose_is_not(module: Path) -> None:
    found = {(each.place, each.held, each.words) for each in mutations(module)}
    assert found == {
        ("", False, "3 → 4"),
        ("judge", True, "not names and count >= LIMIT → count >= LIMIT"),
        ("judge", True, "not names and count >= LIMIT → not names"),
        ("judge", True, "not names and count >= LIMIT → names and count >= LIMIT"),
        ("judge", True, "not names and count >= LIMIT → not names and count > LIMIT"),
        ("judge", True, "raise ValueError(f'{count} is more than can be') → pass"),
        ("judge", True, "count + 1 → count - 1"),
        ("judge", True, "count + 1 → count + 2"),
        ("judge", True, "print('words of a sentence') → pass"),
        ("judge", True, "return names[0] → return None"),
        ("judge", True, "names[0] → names[1]"),
    }


def test_each_change_is_the_only_one(module: Path) -> None:
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    for number in range(len(mutations(module))):
        after = ast.unparse(mutations(module)[number].apply()).splitlines()
        assert len(after) == len(before)
        assert sum(a != b for a, b in zip(after, before, strict=True)) == 1


def test_a_sample_is_the_same_for_the_same_code() -> None:
    every = [(place, mutant) for place in ("http/forms",) for mutant in mutants(place)]
    first, again = ([each.key for _, each in sample(every, 20, 1)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 20
    assert first != [each.key for _, each in sample(every, 20, 2)]


def test_every_place_has_code_and_tests() -> None:
    for place, tests in PLACES.items():
        assert mutants(place), place
        for test in tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists(), test
            assert not name or f"def {name}(" in (ROOT / path).read_text(), test


def test_every_explanation_is_of_a_change_that_there_is() -> None:
    there_are = {mutant.explained for place in PLACES for mutant in mutants(place)}
    assert explained(PAGE.read_text()) - there_are == set()
