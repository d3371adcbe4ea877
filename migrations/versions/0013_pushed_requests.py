"""Pushed authorization requests, and `authorization_details` of codes and of what they grant.

A version before this neither pushes nor reads any of it: it knows no `/par`, and takes no
`request_uri`. Let no client push, or ask for `authorization_details`,
before every replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_DETAILED = ("authorization_code", "refresh_family")


def upgrade() -> None:
    op.create_table(
        "pushed_request",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("network", sa.String()),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_pushed_request")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_pushed_request_client_id"),
            ondelete="CASCADE",
        ),
    )  # fmt: skip
    op.create_index("ix_pushed_request_client", "pushed_request", ["client_id", "expires_at"])
    op.create_index(op.f("ix_pushed_request_expires_at"), "pushed_request", ["expires_at"])
    for table in _DETAILED:
        op.add_column(table, sa.Column("authorization_details", sa.JSON()))


def downgrade() -> None:
    for table in _DETAILED:
        op.drop_column(table, "authorization_details")
    op.drop_table("pushed_request")
