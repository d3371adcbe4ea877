"""Keys to which refresh tokens and codes are bound (RFC 9449).

A version before this takes no proof: it issues and refreshes bearer tokens, and knows no token that
is bound from one that is not. Let no client rely on DPoP before every replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("session", sa.Column("jkt", sa.String()))
    op.add_column("refresh_family", sa.Column("jkt", sa.String()))
    op.add_column("authorization_code", sa.Column("dpop_jkt", sa.String()))


def downgrade() -> None:
    # What was bound would be anybody's who has it.
    op.execute("DELETE FROM authorization_code WHERE dpop_jkt IS NOT NULL")
    op.execute(
        "DELETE FROM session WHERE jkt IS NOT NULL OR id IN "
        "(SELECT session_id FROM refresh_family WHERE jkt IS NOT NULL)"
    )
    op.drop_column("authorization_code", "dpop_jkt")
    op.drop_column("refresh_family", "jkt")
    op.drop_column("session", "jkt")
