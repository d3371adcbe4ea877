"""A migration is killed at each of its statements, before it or after it: a second one finishes,
and what it makes is what one that was left alone makes."""

import os
import signal
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from identity.settings import Settings
from identity.store import migrating
from tests.trials.row import Dice, Outcome, Place

STRIDE = 7919
"""A prime, so that every moment has its turn and a short run is spread over all of them."""
SCHEMA = {
    "sqlite": "SELECT type, name, tbl_name, sql FROM sqlite_master"
    " WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2",
    "postgresql": "SELECT table_name, column_name, data_type, column_default, is_nullable FROM"
    " information_schema.columns WHERE table_schema = 'public' UNION ALL SELECT tablename,"
    " indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
}


@dataclass
class Migrations:
    database: str
    place: Place
    whole: list[Any] = field(default_factory=list)
    statements: int = 0
    number: int = 0
    """How many were killed: each trial takes the next statement."""

    def empty(self) -> str:
        if self.database == "postgresql":
            return self.place.templates.postgres.create()
        self.number += 1
        return f"sqlite:///{self.place.folder / f'{self.number}.db'}"

    def schema(self, url: str) -> list[Any]:
        if self.database == "postgresql":
            with psycopg.connect(url) as connection:
                return connection.execute(SCHEMA["postgresql"]).fetchall()
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as there:
            return there.execute(SCHEMA["sqlite"]).fetchall()

    def run(self, url: str, die_at: int | None) -> int:
        """Migrate in a process of its own; how many statements it began, 0 where it was killed."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that are none of its
            pid = os.fork()
        if pid == 0:
            try:
                os.write(writing, str(_migrate(url, die_at)).encode())
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as said:
            text = said.read()
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            return 0
        assert code == 0, f"a migration ended with {code}"
        return int(text)


def _migrate(url: str, die_at: int | None) -> int:
    """`die_at`: 2n dies before statement n, 2n + 1 after it."""
    begun = 0

    def before(*_: Any) -> None:
        nonlocal begun
        if die_at == 2 * begun:
            os.kill(os.getpid(), signal.SIGKILL)
        begun += 1

    def after(*_: Any) -> None:
        if die_at == 2 * (begun - 1) + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    migrating.upgrade(Settings.of(database_url=url))
    return begun


@contextmanager
def migrations(database: str, place: Place) -> Iterator[Migrations]:
    stage = Migrations(database, place)
    url = stage.empty()
    stage.statements = stage.run(url, None)
    stage.whole = stage.schema(url)
    assert stage.statements > 100 and len(stage.whole) > 100
    yield stage


def killed_at_a_statement(stage: Migrations, dice: Dice) -> Outcome:
    seen = Outcome()
    moment = dice.trial * STRIDE % (2 * stage.statements)
    url = stage.empty()
    seen.see(stage.run(url, moment) == 0, f"it was not killed at {moment / 2:g}")
    stage.run(url, None)
    seen.see(stage.schema(url) == stage.whole, f"killed at {moment / 2:g}: another schema")
    if stage.database == "postgresql":
        stage.place.templates.discard(url)
    seen.measured["statements"] = stage.statements
    return seen
