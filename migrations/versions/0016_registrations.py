"""Clients that have registered themselves, and the scopes that are open to them.

Expand only: a version before this takes such a client for any other.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for table, column in (("client", "self_registered"), ("scope", "open_to_registered")):
        # Not in a batch, which on SQLite copies the table: both can add a column.
        no = sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false())
        op.add_column(table, no)
    op.create_table(
        "client_registration",
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("former", sa.String()),
        sa.Column("network", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client_registration")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_client_registration_client_id"),
            ondelete="CASCADE",
        ),
    )  # fmt: skip
    op.create_index(
        "ix_client_registration_network", "client_registration", ["network", "created_at"]
    )
    op.create_index(
        op.f("ix_client_registration_created_at"), "client_registration", ["created_at"]
    )


def downgrade() -> None:
    op.drop_table("client_registration")
    # What nobody has vouched for must not look like what somebody has.
    op.execute("DELETE FROM client WHERE self_registered")
    op.drop_column("scope", "open_to_registered")
    op.drop_column("client", "self_registered")
