"""Which kinds of hashes are stored, and when one-time passwords expire.

Those set before get a day from here. The kinds are counted by the running service.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "password_kind",
        sa.Column("specimen", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("specimen", name=op.f("pk_password_kind")),
    )
    expires = sa.Column("password_expires_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("user_account", expires)
    user = sa.table(
        "user_account",
        sa.column("must_change_password", sa.Boolean()),
        sa.column("password_expires_at", sa.DateTime(timezone=True)),
    )
    op.execute(
        user.update()
        .where(user.c.must_change_password.is_(sa.true()))
        .values(password_expires_at=datetime.now(UTC) + timedelta(days=1))
    )


def downgrade() -> None:
    op.drop_column("user_account", "password_expires_at")
    op.drop_table("password_kind")
