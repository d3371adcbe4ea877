"""Accounts that their users have deleted, and an index by which people read their own history.

A version before this one knows nothing of a wish to be deleted: whoever logs in at it undoes
nothing. It does not delete anybody either.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WAITS = sa.text("deletion_due_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("user_account", sa.Column("deletion_due_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_user_account_deletion_due_at",
        "user_account",
        ["deletion_due_at"],
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    )
    op.create_index("ix_audit_event_subject_id", "audit_event", ["subject", "id"])
    op.drop_index("ix_audit_event_subject", "audit_event")


def downgrade() -> None:
    op.create_index("ix_audit_event_subject", "audit_event", ["subject"])
    op.drop_index("ix_audit_event_subject_id", "audit_event")
    op.drop_index("ix_user_account_deletion_due_at", "user_account")
    op.drop_column("user_account", "deletion_due_at")
