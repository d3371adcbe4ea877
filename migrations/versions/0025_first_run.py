"""Links by which a user whose second factors are lost sets up new ones, when whoever signs in was
offered one, and what belongs to a demonstration.

A version before this one offers nothing and knows no such link; it serves a demonstration's users
as all others.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("user_account", sa.Column("factor_offered_at", sa.DateTime(timezone=True)))
    op.create_table(
        "enrolment_link",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True)),
        sa.Column("ticket", sa.String()),
        sa.Column("ticket_expires_at", sa.DateTime(timezone=True)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user_account.id"],
            name=op.f("fk_enrolment_link_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_enrolment_link")),
    )
    for column in ("user_id", "expires_at"):
        op.create_index(op.f(f"ix_enrolment_link_{column}"), "enrolment_link", [column])
    unique = op.f("ix_enrolment_link_ticket")
    op.create_index(unique, "enrolment_link", ["ticket"], unique=True)
    op.create_table(
        "demonstration",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref", name=op.f("pk_demonstration")),
    )


def downgrade() -> None:
    op.drop_table("demonstration")
    op.drop_index(op.f("ix_enrolment_link_ticket"), "enrolment_link")
    for column in ("expires_at", "user_id"):
        op.drop_index(op.f(f"ix_enrolment_link_{column}"), "enrolment_link")
    op.drop_table("enrolment_link")
    op.drop_column("user_account", "factor_offered_at")
