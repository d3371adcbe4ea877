"""What is said of tests by their names is said of tests that are there."""

from itertools import pairwise

import pytest

from tests.databases import ROOT
from tests.dialects import OF_ITS_OWN, ONCE


@pytest.mark.parametrize("begin", [*ONCE, *OF_ITS_OWN])
def test_every_name_is_the_beginning_of_one(begin: str) -> None:
    path, _, name = begin.partition("::")
    files = [*ROOT.glob(f"{path}*")] if not path.endswith("/") else [*(ROOT / path).rglob("test_*")]
    assert files
    assert not name or f"def {name}(" in files[0].read_text()


def test_none_is_named_twice() -> None:
    names = sorted(ONCE)
    assert not any(b.startswith(a) for a, b in pairwise(names))
