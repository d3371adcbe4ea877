from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.rotating import PROCESSES, Everyone, contending


@pytest.fixture
def everyone(database_url: str, tmp_path: Path) -> Iterator[Everyone]:
    with contending(database_url, tmp_path / "keys") as everyone:
        yield everyone


def test_eight_processes_that_do_the_same_at_once_make_one_key(
    everyone: Everyone,
    keys: Callable[[], dict[str, str]],
    told: Callable[[str], list[object]],
    tmp_path: Path,
) -> None:
    derived = everyone("start")
    assert len(set(derived)) == 1, derived
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["master.key"]
    ((first, state),) = keys().items()
    assert state == "active"

    (second,) = set(everyone("rotate"))
    assert keys() == {first: "active", second: "next"}

    assert everyone(f"revoke {first}") == ["revoked"] * PROCESSES
    assert keys() == {first: "revoked", second: "active"}
    assert told(first) == [
        "key.created", "key.activated", "key.revoked", ["key.changed", "key.revoked"],
    ]  # fmt: skip

    everyone(f"revoke {second}")
    assert Counter(keys().values()) == {"revoked": 2, "active": 1}

    assert everyone("choose RS256") == ["chosen"] * PROCESSES
    assert Counter(keys().values()) == {"revoked": 2, "active": 1, "next": 1}
