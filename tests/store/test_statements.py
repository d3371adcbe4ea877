"""Statements are written once, over the tables: each holds on both databases, none names a column
by hand, and what is left as text is listed here."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, literal, select
from sqlmodel import Field, col

from identity.directory.access.table import Role
from identity.service.tables import metadata
from identity.store import Database, Statement, Stored, insert_of, moment, select_of
from identity.store.statements import STATEMENTS
from tests.databases import ROOT
from tests.sources import PACKAGE, nodes, trees

TEXT = {
    "cli/backup.py": "SQLite's pragmas and catalog, and the name of PostgreSQL's snapshot",
    "cli/doctor/database.py": "PostgreSQL's settings, activity and snapshots",
    "records/audit/partitions.py": "partitions, locks, and PostgreSQL's catalog",
    "store/contracting.py": "PostgreSQL's activity, and another name for Alembic's own table",
    "store/connections.py": "which history a server is in: its control data",
    "store/driver.py": "pragmas and savepoints",
    "store/engines.py": "pragmas, and how SQLite begins",
    "store/feed_postgresql.py": "snapshots, and the column that says who wrote a row",
    "store/files.py": "pragmas",
    "store/servers.py": "which process answers",
    "store/writer.py": "pragmas, savepoints and transactions",
}
"""Files of `identity` that hold SQL as text, each with what Core cannot say there."""
SQL = re.compile(
    r"\s*(((SELECT|INSERT|UPDATE|DELETE|WITH|ALTER|CREATE|DROP|PRAGMA|SHOW|SET|SAVEPOINT|RELEASE"
    r"|EXPLAIN|LOCK)\s+(?![a-z]+ed\b)\S)|(BEGIN|COMMIT|ROLLBACK)\b)"
)
RELATION = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|ONLY)\s+\"?(\w+)", re.IGNORECASE)


Explain = Callable[..., dict[str, Any]]
FOUND: dict[tuple[str, ...], dict[str, Any]] = {}


@pytest.fixture
def explained(dialect: str, empty_database_url: str) -> Explain:
    """What a process finds that explains every statement; it runs once for each dialect."""

    def explain(*options: str) -> dict[str, Any]:
        found = FOUND.get((dialect, *options))
        if found is None:
            command = [sys.executable, "-m", "tests.store.explaining", empty_database_url, *options]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
            )
            found = FOUND[dialect, *options] = json.loads(done.stdout)
        return found

    return explain


def test_each_statement_is_one_that_the_database_can_plan(explained: Explain) -> None:
    assert explained()["errors"] == {}


def test_every_statement_is_explained(explained: Explain) -> None:
    """Each is made where its module is loaded, none at a request; and every such module is."""
    makers, inside, modules = set[str](), dict[str, str](), set[str]()
    for file in files():
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for function, call in calls(trees()[file]):
            if call in {"Statement", "StatementBy"}:
                modules.add(module)
                makers |= {function} - {""}
            if function:
                inside[call] = f"{module}.{function}"
    assert set(explained()["modules"]) == modules
    assert makers == {"_seen", "_page_of", "_places_of", "_of_postgresql"}
    assert inside.keys() & makers == set()


def test_no_statement_names_a_column_by_hand(explained: Explain) -> None:
    """Every column of every table has another name than its field; one that is planted, and names
    a column, is found out."""
    errors = explained("renamed")["errors"]
    planted = errors.pop("SELECT jti FROM revoked_token WHERE jti = :jti", None) or errors.pop(
        "SELECT jti FROM revoked_token WHERE jti = %(jti)s"
    )
    assert "jti" in planted and errors == {}


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_what_is_looked_up_has_an_index(explained: Explain) -> None:
    """But for what is read whole, and has few rows; of the changes the newest is read, from their
    end; and what a query within has found, or is given as a list, is read as it comes."""
    whole = {"password_kind", "signing_key", "status_block", "change", "role"}
    plans = explained()["plans"].values()
    scanned = {
        step.split()[1]
        for plan in plans
        for step in plan
        if step[:5] == "SCAN " and "VIRTUAL TABLE" not in step
        if f"CO-ROUTINE {step.split()[1]}" not in plan
    }
    assert scanned - {"CONSTANT", "sqlite_sequence"} <= whole


def test_only_what_core_cannot_say_is_text() -> None:
    found = {
        str(file.relative_to(PACKAGE)) for file in files() if any(map(SQL.match, strings(file)))
    }
    assert found == TEXT.keys()


def test_no_text_names_a_table_of_ours() -> None:
    ours = {table.name for table in metadata.sorted_tables}
    named = {
        (str(file.relative_to(ROOT)), name)
        for file in files()
        for string in strings(file)
        if SQL.match(string)
        for name in RELATION.findall(string)
    }
    assert ("identity/store/contracting.py", "pg_stat_activity") in named
    assert {(file, name) for file, name in named if name in ours} == set()


def files() -> list[Path]:
    """The service's; whoever verifies offline has no database."""
    return [file for file in trees() if "verifier" not in file.parts]


def calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """Each name that is called, after that of the function in which it is."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield function, node.func.id
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from calls(node, node.name if inner else function)


@cache
def strings(file: Path) -> list[str]:
    """Those in the code, not what describes it."""
    said = {
        id(node.value)
        for node in nodes(file)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in nodes(file)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    ]


# --- How they are spelt ---------------------------------------------------------------------


@pytest.fixture
def made() -> Iterator[None]:
    """Statements of a test are not the service's."""
    before = len(STATEMENTS)
    yield
    del STATEMENTS[before:]


@pytest.fixture
async def asked(db: Database) -> AsyncIterator[Database]:
    yield db
    await db.aclose()


async def test_a_value_stands_in_the_text_whatever_it_holds(asked: Database, made: None) -> None:
    odd = "50 % of o'clock :now %s %(now)s ?"
    statement = Statement(lambda: select(literal(odd), literal(7), literal(None)))
    assert await asked.query(statement, {}) == [(odd, 7, None)]


async def test_a_time_is_stored_in_utc_and_an_empty_one_stays_empty(
    asked: Database, made: None
) -> None:
    given: Any = bindparam("at", type_=col(Role.created_at).type)  # type: ignore[attr-defined]
    statement = Statement(lambda: select(given))
    at = datetime(2026, 3, 1, 1, 2, 3, 45, UTC)
    ((found,),) = await asked.query(statement, {"at": at})
    assert moment(found) == at and moment(found).utcoffset() == timedelta(0)
    assert await asked.query(statement, {"at": None}) == [(None,)]


async def test_a_parameter_that_is_missing_is_an_error(asked: Database, made: None) -> None:
    statement = Statement(lambda: select_of(Role.name).where(col(Role.name) == bindparam("name")))
    with pytest.raises(Exception, match="name"):
        await asked.query(statement, {"nam": "admin"})


def test_a_value_that_python_would_make_once_for_all_is_refused(made: None) -> None:
    """A default of the model would be computed for each execution, which nobody does here."""

    class Note(Stored, table=True):
        id: str = Field(primary_key=True)
        number: int = Field(sa_column_kwargs={"default": lambda: 7})

    try:
        statement = Statement(lambda: insert_of(Note, {Note.id: "id"}))
        with pytest.raises(TypeError, match="number"):
            _ = statement.sqlite
    finally:
        Stored.metadata.remove(Note.__table__)  # type: ignore[attr-defined]


def test_it_is_put_together_once_for_each_dialect(made: None) -> None:
    calls = []

    def build() -> Any:
        calls.append(1)
        return select(literal(1))

    statement = Statement(build)
    assert calls == []
    assert statement.sqlite is statement.sqlite and len(calls) == 1
    assert statement.postgresql is statement.postgresql and len(calls) == 2
