"""PostgreSQL databases that many tests have, one after the other, each as if it was made for it.

To copy a database costs the server 50 ms, and as much again until connections know it; to put back
what a test has written costs a few. Whoever changed more than rows gets its database taken away.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tests import parked

TIMES = 100
"""As often a database is put back: what was deleted stays on its pages, since nobody vacuums."""
OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (%s)
"""
CATALOGS = {
    "pg_class": "oid", "pg_attribute": "attrelid", "pg_constraint": "oid", "pg_index": "indexrelid",
    "pg_trigger": "oid", "pg_proc": "oid", "pg_type": "oid", "pg_namespace": "oid",
}  # fmt: skip
LATEST = ", ".join(
    f"(SELECT (count(*), max(xmin::text::bigint))::text FROM {name} WHERE {oid} >= 16384)"
    for name, oid in CATALOGS.items()
)
FORM = f"""
SELECT (SELECT xmin::text FROM pg_database WHERE datname = current_database()),
       (SELECT count(*) FROM pg_db_role_setting),
       (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
       {LATEST}
"""
"""What a database is made of, its rows aside: whatever is changed of that has a newer `xmin`."""


@dataclass
class Kept:
    url: str
    connection: psycopg.Connection[Any]
    form: Any
    times: int = 0

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def close(self) -> None:
        parked.forget(self.name)
        self.connection.close()


class Standing:
    """Copies of one template. `create` makes one and `drop` takes it away, both by its URL."""

    def __init__(self, create: Callable[[], str], drop: Callable[[str], None]) -> None:
        self._create, self._drop = create, drop
        self._free: list[Kept] = []
        self._taken: dict[str, Kept] = {}
        self._back = ""

    def take(self) -> str:
        kept = self._free.pop() if self._free else self._made()
        self._taken[kept.url] = kept
        return kept.url

    def give_back(self, url: str) -> bool:
        """Whether it was one of these."""
        kept = self._taken.pop(url, None)
        if kept is None:
            return False
        if kept.times < TIMES and self._put_back(kept):
            self._free.append(kept)
        else:
            kept.close()
            self._drop(url)
        return True

    def close(self) -> None:
        for kept in (*self._free, *self._taken.values()):
            kept.close()

    def _made(self) -> Kept:
        url = self._create()
        connection = psycopg.connect(url, autocommit=True, application_name="tests")
        self._back = self._back or way_back(connection)
        kept = Kept(url, connection, connection.execute(FORM).fetchone())
        parked.allow(kept.name)
        return kept

    def _put_back(self, kept: Kept) -> bool:
        kept.times += 1
        try:
            self._alone(kept)
            if kept.connection.execute(FORM).fetchone() != kept.form:
                return False
            kept.connection.execute(self._back)
        except psycopg.Error:  # somebody holds on to what is to be put back, or is changing it
            return False
        return True

    def _alone(self, kept: Kept) -> None:
        """Nobody else is connected any more, but by what is parked."""
        deadline = time.monotonic() + 5
        while (kept.connection.execute(OTHERS, [parked.backends(kept.name)]).fetchone() or (0,))[0]:
            if time.monotonic() > deadline:
                raise psycopg.OperationalError("somebody is connected still")
            time.sleep(0.001)


def way_back(connection: psycopg.Connection[Any]) -> str:
    """What makes the rows of a database those that it has now, in one transaction."""
    quietly = "SET LOCAL session_replication_role = replica"  # no foreign key is looked at
    steps = ["BEGIN", quietly, "SET LOCAL lock_timeout = '5s'"]
    tables = "SELECT oid::regclass::text, oid FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
    for table, oid in connection.execute(tables).fetchall():
        steps.append(f"DELETE FROM {table}")
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0"
            " AND NOT attisdropped ORDER BY attnum",
            [oid],
        ).fetchall()
        texts = (sql.SQL("quote_nullable({}::text)").format(sql.Identifier(c)) for (c,) in columns)
        rows = sql.SQL("SELECT concat_ws(', ', {}) FROM {}").format(
            sql.SQL(", ").join(texts), sql.SQL(table)
        )
        if found := connection.execute(rows).fetchall():
            values = ", ".join(f"({row})" for (row,) in found)
            steps.append(f"INSERT INTO {table} VALUES {values}")
    sequences = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND oid >= 16384"
    for (name,) in connection.execute(sequences).fetchall():
        last, called = connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name))
        ).fetchone() or (1, False)
        steps.append(f"SELECT setval('{name}', {last}, {called})")
    return ";\n".join([*steps, "COMMIT"])
