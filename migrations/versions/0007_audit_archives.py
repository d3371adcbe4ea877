"""Which stretches of the audit's chain are in archive files, and no longer in the database.

A version before this finds them missing when it verifies the chain, and reads and writes as ever.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    texts = ("continues", "digest", "signature", "file", "head_digest", "head_signature")
    op.create_table(
        "audit_archive",
        sa.Column("first", _BIG, autoincrement=False, nullable=False),
        *(sa.Column(name, _BIG, nullable=False) for name in ("last", "head_seq")),
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("first", name=op.f("pk_audit_archive")),
        sa.UniqueConstraint("last", name=op.f("uq_audit_archive_last")),
    )


def downgrade() -> None:
    op.drop_table("audit_archive")
