"""Which clients are yet to be told that a session has ended, and where offline sessions began.

A version before this writes none: sessions that it ends while both run are told to nobody.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WAITS = sa.text("given_up_at IS NULL")
_OFFLINE = sa.text("signed_in_at IS NOT NULL AND browser_session_id IS NULL")


def upgrade() -> None:
    op.create_table(
        "logout_notice",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("given_up_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_logout_notice")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_logout_notice_client_id"),
            ondelete="CASCADE",
        ),
    )  # fmt: skip
    op.create_index("ix_logout_notice_client", "logout_notice", ["client_id", "due_at"])
    op.create_index(
        "ix_logout_notice_due", "logout_notice", ["due_at"],
        sqlite_where=_WAITS, postgresql_where=_WAITS,
    )  # fmt: skip
    op.create_index(op.f("ix_logout_notice_given_up_at"), "logout_notice", ["given_up_at"])
    op.add_column("session", sa.Column("signed_in_at", sa.String()))
    op.create_index(
        "ix_session_signed_in_at", "session", ["signed_in_at"],
        sqlite_where=_OFFLINE, postgresql_where=_OFFLINE,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_session_signed_in_at", "session")
    op.drop_column("session", "signed_in_at")
    op.drop_table("logout_notice")
