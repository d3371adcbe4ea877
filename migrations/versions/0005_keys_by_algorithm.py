"""A signing key for each algorithm in use: what a key serves, and one active key of each.

A version before this makes keys that serve "", as all did, and reads no others for its own tokens.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATES = ("active", "next")


def upgrade() -> None:
    # Not in a batch, which on SQLite copies the table: both can add a column with a default.
    op.add_column(
        "signing_key",
        sa.Column("serves", sa.String(), server_default=sa.text("''"), nullable=False),
    )
    for state in STATES:
        op.drop_index(f"uq_signing_key_{state}", "signing_key")
        _unique(f"uq_signing_key_serves_{state}", "serves", state)


def downgrade() -> None:
    # A key that serves a chosen algorithm has no place in the version before. What it signed is
    # good until it expires: in a day at the most.
    keys = sa.table(
        "signing_key",
        *(sa.column(name, sa.String()) for name in ("serves", "state", "private")),
        *(sa.column(name, sa.DateTime(timezone=True)) for name in ("retired_at", "expires_at")),
    )
    at = datetime.now(UTC)
    op.execute(keys.delete().where(keys.c.serves != "", keys.c.state == "next"))
    op.execute(
        keys.update()
        .where(keys.c.serves != "", keys.c.state == "active")
        .values(state="retired", private=None, retired_at=at, expires_at=at + timedelta(days=1))
    )
    for state in STATES:
        op.drop_index(f"uq_signing_key_serves_{state}", "signing_key")
        _unique(f"uq_signing_key_{state}", "state", state)
    op.drop_column("signing_key", "serves")


def _unique(name: str, column: str, state: str) -> None:
    where = sa.text(f"state = '{state}'")
    op.create_index(
        name, "signing_key", [column], unique=True, sqlite_where=where, postgresql_where=where
    )
