"""Issuers elsewhere whose word counts here: clusters, CI systems, identity providers.

Expand only: a version before this takes none of their tokens.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "trusted_issuer",
        *_texts("id", "issuer", "name", "status"),
        sa.Column("jwks", sa.JSON()),
        *_texts("jwks_uri", "audience", nullable=True),
        *_texts("user_match", "user_claim"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trusted_issuer")),
        sa.UniqueConstraint("issuer", name=op.f("uq_trusted_issuer_issuer")),
    )


def downgrade() -> None:
    op.drop_table("trusted_issuer")


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]
