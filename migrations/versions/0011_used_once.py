"""What may be used once and carries its own end: digests of assertions and proofs that were seen.

A version before this takes neither, so it need not look.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "used_once",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_used_once")),
    )
    op.create_index(op.f("ix_used_once_expires_at"), "used_once", ["expires_at"])


def downgrade() -> None:
    op.drop_table("used_once")
