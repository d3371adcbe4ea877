"""Indexes by which lists find users and clients by the beginning of a name, and those who are
disabled, however many there are.

A version before this one writes the same rows and never asks these indexes.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0027"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BY_CODE_POINT = "text_pattern_ops"


def upgrade() -> None:
    op.create_index(
        "ix_login_name_begins", "login_name", ["name"], postgresql_ops={"name": _BY_CODE_POINT}
    )
    op.create_index(
        "ix_user_account_name", "user_account", ["name"], postgresql_ops={"name": _BY_CODE_POINT}
    )
    op.create_index("ix_user_account_status", "user_account", ["status", "id"])


def downgrade() -> None:
    op.drop_index("ix_user_account_status", "user_account")
    op.drop_index("ix_user_account_name", "user_account")
    op.drop_index("ix_login_name_begins", "login_name")
