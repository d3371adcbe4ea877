"""Devices that wait for somebody to allow them something, and tokens that were got for others.

A version before this neither writes nor reads any of it, and does not show in the status lists that
such a token has ended: let no client exchange tokens before every replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "device_authorization",
        *_texts("digest", "user_code", "client_id"),
        *_texts("address", "scope", nullable=True),
        sa.Column("resources", sa.JSON(), nullable=False),
        *_times("expires_at"),
        sa.Column("pause", sa.Integer(), nullable=False),
        *_times("due_at"),
        *_texts("user_id", nullable=True),
        *_times("authenticated_at", nullable=True),
        sa.Column("amr", sa.JSON()),
        *_texts("acr", nullable=True),
        *_times("declined_at", "used_at", nullable=True),
        *_texts("session_id", nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_device_authorization")),
        sa.UniqueConstraint("user_code", name=op.f("uq_device_authorization_user_code")),
        _follows("device_authorization", "client_id", "client.id"),
        _follows("device_authorization", "user_id", "user_account.id"),
    )
    for column in ("client_id", "address", "expires_at", "user_id"):
        op.create_index(op.f(f"ix_device_authorization_{column}"), "device_authorization", [column])
    op.create_table(
        "exchanged_token",
        *_texts("jti"),
        sa.Column("place", _BIG, nullable=False),
        *_texts("session_id", "parent", "principal", nullable=True),
        *_times("expires_at"),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_exchanged_token")),
    )
    for column in ("session_id", "parent", "principal", "expires_at"):
        op.create_index(op.f(f"ix_exchanged_token_{column}"), "exchanged_token", [column])


def downgrade() -> None:
    op.drop_table("exchanged_token")
    op.drop_table("device_authorization")


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]


def _times(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=nullable) for name in names]


def _follows(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete="CASCADE")
