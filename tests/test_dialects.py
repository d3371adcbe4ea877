"""What is said of tests by their names is said of tests that are there."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from tests.databases import ROOT
from tests.dialects import OF_ITS_OWN, ONCE, mark


@pytest.mark.parametrize("begin", [*ONCE, *OF_ITS_OWN])
def test_every_name_is_the_beginning_of_one(begin: str) -> None:
    path, _, name = begin.partition("::")
    files = [*ROOT.glob(f"{path}*")] if not path.endswith("/") else [*(ROOT / path).rglob("test_*")]
    assert files
    assert not name or f"def {name}(" in files[0].read_text()


def test_none_is_named_twice() -> None:
    names = sorted(ONCE)
    assert not any(b.startswith(a) for a, b in pairwise(names))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_of_a_file_that_one_database_is_enough_for_two_at_once_are_asked_of_both(
    dialect: str,
) -> None:
    marked: dict[str, list[str]] = {"test_two_at_once": [], "test_one": []}
    items = [
        SimpleNamespace(
            nodeid=f"{ONCE[0]}test_it.py::{name}[{dialect}]", name=f"{name}[{dialect}]",
            callspec=SimpleNamespace(params={"dialect": dialect}),
            iter_markers=lambda _: (), add_marker=found.append,
        )
        for name, found in marked.items()
    ]  # fmt: skip
    mark(items)
    assert marked == {
        "test_two_at_once": [], "test_one": ["again"] if dialect == "postgresql" else []
    }  # fmt: skip
