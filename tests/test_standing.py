"""What one test leaves in a database that the next one has: nothing."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.databases import Postgres
from tests.standing import Standing

SCHEMA = """
CREATE TABLE house (id bigserial PRIMARY KEY, name text, known json, seal bytea, at timestamptz,
                    open boolean, part_of bigint REFERENCES house);
INSERT INTO house (name, known, seal, at, open) VALUES ('it''s', 'null', '\\x00ff', now(), true);
INSERT INTO house (name, part_of) VALUES (E'back\\\\slash\\n', 1);
CREATE TABLE empty (id int);
"""


class Copies(Standing):
    """Copies of a database of two tables, and what became of them."""

    def __init__(self, postgres: Postgres) -> None:
        template = postgres.create()
        run(template, SCHEMA)
        self.dropped: list[str] = []
        self._postgres = postgres
        super().__init__(lambda: postgres.create(template.rpartition("/")[2]), self._gone)

    def _gone(self, url: str) -> None:
        self.dropped.append(url)
        self._postgres.drop(url)


@pytest.fixture
def copies(postgres: Postgres) -> Iterator[Copies]:
    copies = Copies(postgres)
    yield copies
    copies.close()


def run(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def rows(url: str) -> list[object]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT h.*, h.known::text FROM house h ORDER BY id").fetchall()
        return [*found, *connection.execute("SELECT * FROM empty").fetchall()]


def test_the_next_one_finds_the_rows_and_numbers_of_the_template(copies: Copies) -> None:
    url = copies.take()
    before = rows(url)
    assert len(before) == 2
    run(url, "INSERT INTO house (name) VALUES ('third'); INSERT INTO empty VALUES (1)")
    run(url, "UPDATE house SET name = 'x', open = false; DELETE FROM house WHERE id = 2")
    assert copies.give_back(url)
    assert copies.take() == url
    assert copies.dropped == []
    assert rows(url) == before
    run(url, "INSERT INTO house (name) VALUES ('third')")
    assert rows(url)[2][0] == 3  # type: ignore[index]


def test_two_at_once_have_two(copies: Copies) -> None:
    assert copies.take() != copies.take()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE house RENAME COLUMN name TO title",
        "ALTER TABLE house ADD COLUMN height int",
        "ALTER TABLE house DROP CONSTRAINT house_part_of_fkey",
        "CREATE INDEX ON house (name)",
        "CREATE TABLE garden (id int)",
        "DROP TABLE empty",
        "REVOKE ALL ON house FROM PUBLIC; GRANT SELECT ON house TO PUBLIC",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_whoever_changes_more_than_rows_has_had_the_last_use_of_it(
    copies: Copies, change: str
) -> None:
    url = copies.take()
    run(url, change)
    assert copies.give_back(url)
    assert copies.dropped == [url]
    assert copies.take() != url


def test_what_is_neither_committed_nor_rolled_back_is_an_error_as_ever(copies: Copies) -> None:
    url = copies.take()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("BEGIN; INSERT INTO empty VALUES (1); PREPARE TRANSACTION 'left'")
    with pytest.raises(psycopg.errors.ObjectInUse):
        copies.give_back(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ROLLBACK PREPARED 'left'")


def test_who_is_still_there_is_sent_away_and_keeps_nothing(copies: Copies) -> None:
    url = copies.take()
    before = rows(url)
    with psycopg.connect(url) as left:
        left.execute("UPDATE house SET name = 'mine'")
        assert copies.give_back(url)
        assert copies.take() == url
        assert rows(url) == before
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")


def test_a_database_that_others_do_not_know_is_theirs(copies: Copies) -> None:
    assert not copies.give_back("postgresql://127.0.0.1/another")
