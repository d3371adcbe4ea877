import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.databases import environment

PROCESSES = 8


@pytest.fixture
def everyone(database_url: str, tmp_path: Path) -> Iterator[Callable[[str], list[str]]]:
    """`everyone(act)`: what each of eight processes says to `act`, done by all at once."""
    script = Path(__file__).with_name("contender.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script, database_url, tmp_path / "keys"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),
            env=environment(),
        )
        for _ in range(PROCESSES)
    ]

    def answers() -> list[str]:
        return [process.stdout.readline().strip() for process in processes if process.stdout]

    def everyone(act: str) -> list[str]:
        for process in processes:
            assert process.stdin
            process.stdin.write(f"{act}\n")
            process.stdin.flush()
        return answers()

    assert answers() == ["ready"] * PROCESSES
    yield everyone
    for process in processes:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()
    assert [process.wait(30) for process in processes] == [0] * PROCESSES


def test_eight_processes_that_do_the_same_at_once_make_one_key(
    everyone: Callable[[str], list[str]],
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
