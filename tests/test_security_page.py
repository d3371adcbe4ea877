"""docs/security.md: every requirement has its row, and every test and page named there exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.databases import ROOT

PAGE = ROOT / "docs" / "security.md"
TESTS = ROOT / "tests"
SECTIONS = {  # of levels 1 and 2
    "6": (3, 12, 4, 4, 5, 3, 0, 4),
    "7": (3, 4, 2, 5, 2, 2),
    "9": (3, 4),
    "10": (2, 2, 4, 11, 5, 2, 3),
    "11": (2, 3, 3, 4, 1, 1),
}
"""OWASP ASVS 5.0: chapter → how many requirements each of its sections has."""
OF_RFCS = {
    "8725": [f"3.{n}" for n in range(1, 13)],
    "9700": ["2.1", "2.1.1", "2.1.2", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6"]
    + [f"4.{n}" for n in range(1, 18)],
}


def rows() -> Iterator[tuple[str, str]]:
    """The number of a requirement, and what shows it."""
    for line in PAGE.read_text().splitlines():
        found = re.match(r"\| ((?:\d{4} )?\d+(?:\.\d+)+) \| .+? \| (.+) \|$", line)
        if found:
            yield found[1], found[2]


def wanted() -> list[str]:
    asvs = [
        f"{chapter}.{section}.{number}"
        for chapter, counts in SECTIONS.items()
        for section, count in enumerate(counts, 1)
        for number in range(1, count + 1)
    ]
    return asvs + [f"{rfc} {each}" for rfc, sections in OF_RFCS.items() for each in sections]


def test_every_requirement_has_its_row_and_its_row_only() -> None:
    assert [number for number, _ in rows()] == wanted()


def named() -> list[str]:
    return sorted(set(re.findall(r"`([a-z0-9_/]+\.py::[a-z0-9_]+)`", PAGE.read_text())))


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("test", named())
def test_a_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in functions(path)


def test_what_looks_like_a_test_is_one_that_is_checked() -> None:
    """A name that is spelled wrong is not passed over."""
    looks = set(re.findall(r"`([^`]*::[^`]*)`", PAGE.read_text()))
    assert looks == set(named())


def test_every_row_is_shown_by_something_or_says_why_not() -> None:
    for number, shown in rows():
        evidence = "::test_" in shown or "](" in shown
        elsewhere = re.search(r"\bAs \d|(?:^|, )\d+\.\d", shown) is not None
        assert evidence or elsewhere or "**Except**: " in shown or "othing is" in shown, number
