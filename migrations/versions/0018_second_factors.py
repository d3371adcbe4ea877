"""Second factors: one-time codes by the clock, and recovery codes.

A version before this one asks nobody for a second factor, and knows no role that wants one: let
users set one up, and roles demand it, once every replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "user_account",
        sa.Column("second_factor", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("session", sa.Column("acr", sa.String()))
    op.add_column("role", sa.Column("acr", sa.String()))
    op.create_table(
        "totp",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("secret", sa.String()),
        sa.Column("pending", sa.String()),
        sa.Column("pending_until", sa.DateTime(timezone=True)),
        sa.Column("last_step", _BIG),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True)),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp")),
        _of_user("totp"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_recovery_code")),
        _of_user("recovery_code"),
    )
    op.create_index(op.f("ix_recovery_code_user_id"), "recovery_code", ["user_id"])


def downgrade() -> None:
    op.drop_table("recovery_code")
    op.drop_table("totp")
    op.drop_column("role", "acr")
    op.drop_column("session", "acr")
    op.drop_column("user_account", "second_factor")


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_user_id")
    return sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=name, ondelete="CASCADE")
