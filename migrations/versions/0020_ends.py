"""Retired keys that are published no more, software statements, and pushed requests of clients that
are described at an address of their own.

Expand only. A version before this publishes a withdrawn key again, and deletes it at its next look:
hints that it signed are then known no more, and nothing else changes. It takes no software
statements, and leaves alone what is kept of one. It pushes for its own clients alone.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Not in a batch, which on SQLite copies the table: both can add a column.
    op.add_column("signing_key", sa.Column("withdrawn_at", sa.DateTime(timezone=True)))
    op.add_column("client_registration", sa.Column("software_statement", sa.String()))
    op.add_column(
        "trusted_issuer",
        sa.Column("software_statements", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    _pushed_requests("drop")


def downgrade() -> None:
    op.execute("DELETE FROM pushed_request WHERE client_id NOT IN (SELECT id FROM client)")
    _pushed_requests("create")
    op.drop_column("trusted_issuer", "software_statements")
    op.drop_column("client_registration", "software_statement")
    # Nobody else would know that they are not to be published.
    op.execute("DELETE FROM signing_key WHERE withdrawn_at IS NOT NULL")
    op.drop_column("signing_key", "withdrawn_at")


def _pushed_requests(act: str) -> None:
    """Whether they hang on a client. SQLite copies the table for that: there are few of them."""
    name = "fk_pushed_request_client_id"
    with op.batch_alter_table("pushed_request") as batch:
        if act == "drop":
            batch.drop_constraint(name, type_="foreignkey")
        else:
            batch.create_foreign_key(name, "client", ["client_id"], ["id"], ondelete="CASCADE")
