"""Lockdown, what a counter of failed logins counts, and indexes for lists of everybody's.

A version before this one knows of no lockdown: it goes on signing people in, so replace every
replica before you rely on it. What it counts is not listed among the blocked.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0026"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SESSIONS = ("session", "browser_session")
NAMES = ("name", "given_name", "family_name")


def upgrade() -> None:
    op.create_table(
        "lockdown",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String()),
        sa.Column("actor_type", sa.String()),
        sa.Column("actor", sa.String()),
        sa.Column("tokens_ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lockdown")),
    )
    for name in ("kind", "user_id", "network"):
        op.add_column("login_failure", sa.Column(name, sa.String()))
    no = sa.Column("locked", sa.Boolean(), server_default=sa.false(), nullable=False)
    op.add_column("login_failure", no)
    _partial("ix_login_failure_locked", "login_failure", ["key"], "locked IS true", "locked IS 1")
    for table in SESSIONS:
        _partial(f"ix_{table}_address", table, ["address", "id"], "ended_at IS NULL")
    # What follows is in no model: where texts are compared octet by octet, PostgreSQL has to be
    # told so, and these are of expressions (`store.migrating.compared`).
    c = ' COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"CREATE INDEX ix_search_login_name ON login_name (name{c}, user_id)")
    for name in NAMES:
        key = f"(lower({name}){c})" if c else f"lower({name})"
        op.execute(f"CREATE INDEX ix_search_user_{name} ON user_account ({key}, id)")
    op.execute("CREATE INDEX ix_search_user_last_login ON user_account (last_login_at, id)")
    disabled = "WHERE status = 'disabled'"
    op.execute(f"CREATE INDEX ix_search_user_disabled ON user_account (id) {disabled}")


def downgrade() -> None:
    for name in (*NAMES, "last_login", "disabled"):
        op.execute(f"DROP INDEX ix_search_user_{name}")
    op.execute("DROP INDEX ix_search_login_name")
    for table in SESSIONS:
        op.drop_index(f"ix_{table}_address", table_name=table)
    op.drop_index("ix_login_failure_locked", table_name="login_failure")
    for name in ("locked", "network", "user_id", "kind"):
        op.drop_column("login_failure", name)
    op.drop_table("lockdown")


def _partial(
    name: str, table: str, columns: list[str], where: str, on_sqlite: str | None = None
) -> None:
    op.create_index(
        name, table, columns,
        postgresql_where=sa.text(where), sqlite_where=sa.text(on_sqlite or where),
    )  # fmt: skip
