"""PostgreSQL is taken away and comes back, under load: until then a 503 that says when, within four
seconds; then all is well by itself."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from tests.databases import Postgres, migrate
from tests.faults.loading import under_load
from tests.faults.replicas import Replicas
from tests.trials.row import Outcome, Place

AFTERWARDS = 2.5
"""Seconds of load after it is back."""
CONNECTIONS = 40


@dataclass
class Mortal:
    postgres: Postgres
    replicas: Replicas
    url: str


@contextmanager
def mortal(database: str, place: Place) -> Iterator[Mortal]:
    """A PostgreSQL of its own, whose commits outlive its processes, and one server."""
    options = ["synchronous_commit=on", f"max_connections={CONNECTIONS}"]
    postgres = Postgres(options=options)
    try:
        url = postgres.create()
        migrate(url)
        replicas = Replicas(url, place.folder, 1)
        try:
            yield Mortal(postgres, replicas, url)
        finally:
            replicas.close()
    finally:
        postgres.remove()


def _trial(
    stage: Mortal, dice: random.Random, happen: Callable[[Mortal, random.Random], None]
) -> Outcome:
    seen = under_load(stage.replicas, dice, lambda: happen(stage, dice), AFTERWARDS)
    stage.replicas.db.engine.dispose()  # this process asks again, too
    return seen


def restarted(stage: Mortal, dice: random.Random) -> Outcome:
    def happen(stage: Mortal, dice: random.Random) -> None:
        stage.postgres.kill()
        time.sleep(dice.uniform(0, 1))
        stage.postgres.start()

    return _trial(stage, dice, happen)


def frozen(stage: Mortal, dice: random.Random) -> Outcome:
    def happen(stage: Mortal, dice: random.Random) -> None:
        with stage.postgres.frozen():
            time.sleep(dice.uniform(0.5, 6))

    return _trial(stage, dice, happen)


def terminated(stage: Mortal, dice: random.Random) -> Outcome:
    def happen(stage: Mortal, dice: random.Random) -> None:
        for _ in range(dice.randint(1, 5)):
            _terminate(stage)
            time.sleep(dice.uniform(0, 0.2))

    return _trial(stage, dice, happen)


def exhausted(stage: Mortal, dice: random.Random) -> Outcome:
    """Others hold all connections; those of the service are cut, and it gets no new ones."""

    def happen(stage: Mortal, dice: random.Random) -> None:
        with ExitStack() as ends, psycopg.connect(stage.url, autocommit=True) as cutting:
            until = time.monotonic() + dice.uniform(1, 3)
            while time.monotonic() < until:
                try:
                    ends.enter_context(psycopg.connect(stage.url))
                except psycopg.OperationalError:
                    _terminate(stage, cutting, "identity")
                    time.sleep(0.05)

    return _trial(stage, dice, happen)


def read_only(stage: Mortal, dice: random.Random) -> Outcome:
    def happen(stage: Mortal, dice: random.Random) -> None:
        for value in ("on", "off"):
            with psycopg.connect(stage.postgres.url(), autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
                connection.execute("SELECT pg_reload_conf()")
            if value == "on":
                time.sleep(dice.uniform(0.5, 3))

    return _trial(stage, dice, happen)


def _terminate(
    stage: Mortal, connection: "psycopg.Connection[tuple[object, ...]] | None" = None,
    named: str = "",
) -> None:  # fmt: skip
    """Cut the connections of those whose name begins so."""
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND application_name LIKE %s"
    )
    if connection is not None:
        connection.execute(cut, [f"{named}%"])
        return
    with psycopg.connect(stage.url, autocommit=True) as other:
        other.execute(cut, [f"{named}%"])
