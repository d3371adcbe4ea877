"""Who is found by the beginning of a name, and that indexes alone find them."""

from typing import Any

from sqlalchemy import event, text
from sqlmodel import Session

from identity.directory.users import accounts
from identity.directory.users.listing import beginning_with, ids_beginning_with
from identity.store import Database


def test_by_username_address_name_and_id_in_any_case(db: Database) -> None:
    with db.transaction() as session:
        ada = accounts.create(session, username="ada", name="Ada Lovelace", email="Z@example.com")
        accounts.create(session, username="b_a%da", name="grace")
        accounts.create(session, username="\u00e9mile", name="\u00c9mile")
        for q in ("ad", "AD", "z@exam", "Ada L", "ada l", ada.id):
            assert [user.id for user in beginning_with(session, q, 5)] == [ada.id], q
        for q in ("%", "_", "da", "lovelace", "\U0010ffff", "x" * 500):
            assert beginning_with(session, q, 5) == [], q
        assert len(beginning_with(session, "\u00c9", 5)) == 1
        assert len(ids_beginning_with(session, "a", 1)) == 1


def test_no_table_is_read_from_end_to_end(db: Database) -> None:
    asked: list[tuple[str, Any]] = []
    with db.transaction() as session:
        if db.dialect == "postgresql":
            session.execute(text("SET LOCAL enable_seqscan = off"))
        note = _noting(asked)
        event.listen(db.engine, "before_cursor_execute", note)
        try:
            ids_beginning_with(session, "ada", 20)
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        assert len(asked) == 3
        for statement, parameters in asked:
            plan = _plan(session, statement, parameters)
            assert "INDEX" in plan.upper() and "Seq Scan" not in plan, plan
            assert "SCAN login_name" not in plan and "SCAN user_account" not in plan, plan


def _noting(asked: list[tuple[str, Any]]) -> Any:
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    return note


def _plan(session: Session, statement: str, parameters: Any) -> str:
    connection = session.connection()
    explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    rows = connection.exec_driver_sql(explain + statement, parameters).fetchall()
    return "\n".join(" ".join(map(str, row)) for row in rows)
