"""Who follows the revocations, and which signing keys they have.

A version before this one writes nothing here and waits for nobody: rotation is gated once every
replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "key_follower",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kids", sa.String()),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_follower")),
    )
    op.create_index(op.f("ix_key_follower_seen_at"), "key_follower", ["seen_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_key_follower_seen_at"), table_name="key_follower")
    op.drop_table("key_follower")
