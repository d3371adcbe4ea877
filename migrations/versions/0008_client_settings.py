"""What can be set about a client, in one column: a further setting needs no migration.

Expand only: a version before this neither reads nor writes the column.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Not in a batch, which on SQLite copies the table: both can add a column.
    op.add_column("client", sa.Column("settings", sa.JSON()))


def downgrade() -> None:
    op.drop_column("client", "settings")
