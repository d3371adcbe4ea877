"""Which line of OpenID Connect's conformance tests a test stands for. The page docs/conformance.md
has them all; `make conformance` runs them and says how each of them went.

A line is added by a mark, wherever the test stands:

    @line("Code flow", "`state` comes back unchanged")
    async def test_state_comes_back_unchanged(world: World) -> None: ...
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent.parent
AREAS = ("Discovery", "Code flow", "Form post", "Registration", "Logout")
"""In the order in which the page has them; others follow."""


class Line(NamedTuple):
    area: str
    words: str
    file: str
    """From the folder of the tests."""
    test: str


def line(area: str, words: str) -> pytest.MarkDecorator:
    """The test proves this line; several lines may stand above one test."""
    return pytest.mark.conformance(area, words)


def lines() -> list[Line]:
    """All, read from the source of the tests, by area."""
    areas = list(AREAS)
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text()
        if "tests.conformance.lines" in source:
            found += _marked(source, str(path.relative_to(TESTS)))
    areas += sorted({each.area for each in found} - set(areas))
    return sorted(found, key=lambda each: areas.index(each.area))


def _marked(source: str, file: str) -> Iterator[Line]:
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "line":
                area, words = (ast.literal_eval(argument) for argument in mark.args)
                yield Line(area, words, file, node.name)
