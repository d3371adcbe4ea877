from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from identity.directory.clients.table import Client, ClientSecret
from identity.opaque import digest, mint
from identity.store import changes
from tests.faults.replicas import Replicas
from tests.oauth.revocation_feed.following import basic
from tests.templates import Templates


class Watched(Replicas):
    """Servers, and a client that may follow their revocations."""

    def __init__(self, url: str, folder: Path, count: int) -> None:
        super().__init__(url, folder, count)
        self.siblings_secret = secret = mint("cs")
        with self.db.transaction() as session:
            session.add(Client(id="sibling", grants=[], scopes=["introspect"]))
            session.flush()
            session.add(ClientSecret(client_id="sibling", digest=digest(secret), hint="…"))
            changes.record(session, "client.changed", "sibling")
        self.authorization = basic("sibling", secret)

    def change(self, kind: str, ref: str) -> None:
        """What another process commits."""
        with self.db.transaction() as session:
            changes.record(session, kind, ref)

    def told(self) -> dict[int, tuple[str, str]]:
        """All that a sibling should know of, as the database has it."""
        names = {"token.revoked": "token", "session.ended": "session", "key.revoked": "key"}
        with self.db.transaction() as session:
            rows: Any = session.execute(text("SELECT id, kind, ref FROM change ORDER BY id"))
            return {row[0]: (names[row[1]], row[2]) for row in rows if row[1] in names}


@pytest.fixture(scope="session")
def watched_pairs(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Watched]]:
    started: dict[str, Watched] = {}

    def pair(dialect: str) -> Watched:
        if dialect not in started:
            folder = tmp_path_factory.mktemp(f"watched-{dialect}")
            started[dialect] = Watched(templates.fresh(dialect, folder), folder, 2)
        return started[dialect]

    yield pair
    for replicas in started.values():
        replicas.close()


@pytest.fixture
def watched(dialect: str, watched_pairs: Callable[[str], Watched]) -> Watched:
    """Two servers on one database, shared by tests that leave them as they were."""
    return watched_pairs(dialect)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Callable[[int], Watched]]:
    """`start(n)`: servers of this test's own."""
    started: list[Watched] = []

    def start(count: int = 1) -> Watched:
        started.append(Watched(database_url, tmp_path, count))
        return started[-1]

    yield start
    for each in started:
        each.close()
