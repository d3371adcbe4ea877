"""What is known of users beside their names: members of a profile, and attributes.

Expand only: a version before this neither reads nor writes the columns.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TEXTS = ("given_name", "family_name", "locale", "zoneinfo", "picture", "phone_number")


def upgrade() -> None:
    # Not in a batch, which on SQLite copies the table: both can add a column with a default.
    columns = [sa.Column(name, sa.String()) for name in TEXTS]
    columns += [
        sa.Column("phone_number_verified", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("address", sa.JSON()),
        sa.Column("attributes", sa.JSON()),
    ]
    for column in columns:
        op.add_column("user_account", column)


def downgrade() -> None:
    for name in (*TEXTS, "phone_number_verified", "address", "attributes"):
        op.drop_column("user_account", name)
