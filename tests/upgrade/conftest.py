from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import Postgres
from tests.faults.replicas import Line, Replicas, settings_of
from tests.serving import Server
from tests.upgrade import before


@dataclass
class Beside:
    """A server of each version on one database."""

    older: Server
    newer: Replicas
    settings: dict[str, str]

    @contextmanager
    def lines(self) -> Iterator[tuple[Line, Line]]:
        """To the older server and to the newer."""
        older = Line(self.older.port, self.newer.secret)
        try:
            with self.newer.lines() as (newer,):
                yield older, newer
        finally:
            older.close()


@pytest.fixture(scope="session")
def code_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return before.code(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="session")
def start_beside(
    postgres: Postgres, code_before: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Beside]]:
    """The older version makes the database, the newer migrates it as it starts."""
    started: list[Beside] = []

    def start() -> Beside:
        url, folder = postgres.create(), tmp_path_factory.mktemp("beside")
        settings = settings_of(url, folder)
        del settings["MAIL_FOLDER"]  # the older knows of no mails
        older = Server(folder, settings, code=code_before)
        try:
            started.append(Beside(older, Replicas(url, folder, 1), settings))
        except BaseException:
            older.stop()
            raise
        return started[-1]

    yield start
    for each in started:
        each.newer.close()
        each.older.stop()


@pytest.fixture(scope="session")
def beside(start_beside: Callable[[], Beside]) -> Beside:
    """Shared by tests that leave both servers running."""
    return start_beside()
