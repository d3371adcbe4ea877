"""What the pages look like: the service's name, colours and logo, and logos of clients.

A version before this one shows its pages as they come.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "branding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String()),
        sa.Column("accent", sa.String()),
        sa.Column("accent_dark", sa.String()),
        sa.Column("background", sa.String()),
        sa.Column("background_dark", sa.String()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branding")),
    )
    op.create_table(
        "logo",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String()),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.id"],
            name=op.f("fk_logo_client_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logo")),
        sa.UniqueConstraint("client_id", name=op.f("uq_logo_client_id")),
    )
    op.create_index(op.f("ix_logo_digest"), "logo", ["digest"])


def downgrade() -> None:
    op.drop_table("logo")
    op.drop_table("branding")
