from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.replicas import Replicas
from tests.templates import Templates


@pytest.fixture(scope="session")
def pairs(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Replicas]]:
    """`pairs(dialect)`: two servers on one database, started once."""
    started: dict[str, Replicas] = {}

    def pair(dialect: str) -> Replicas:
        if dialect not in started:
            folder = tmp_path_factory.mktemp(f"pair-{dialect}")
            started[dialect] = Replicas(templates.fresh(dialect, folder), folder, 2)
        return started[dialect]

    yield pair
    for replicas in started.values():
        replicas.close()


@pytest.fixture
def pair(dialect: str, pairs: Callable[[str], Replicas]) -> Replicas:
    """Two servers on one database, shared by tests that leave them and the client as they were."""
    return pairs(dialect)


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[Callable[[int], Replicas]]:
    """`replicas(n)`: servers of this test's own."""
    started: list[Replicas] = []

    def start(count: int = 1) -> Replicas:
        started.append(Replicas(database_url, tmp_path, count))
        return started[-1]

    yield start
    for each in started:
        each.close()
