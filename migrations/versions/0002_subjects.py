"""Ids of users and clients in one table; the scopes that a client's request asks for unsaid.

Expand only: the version before leaves no row with the ids that it gives, and `directory.subjects`
looks at its users and clients too.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "subject",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
    )
    # An id that both have, or had, is the user's, whose things a client might be handed.
    op.execute("INSERT INTO subject (id, type) SELECT id, 'user' FROM user_account")
    op.execute(
        "INSERT INTO subject (id, type) SELECT DISTINCT subject, 'user' FROM audit_event e "
        "WHERE event = 'user.deleted' AND subject IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM subject s WHERE s.id = e.subject)"
    )
    op.execute(
        "INSERT INTO subject (id, type) SELECT id, 'client' FROM client c "
        "WHERE NOT EXISTS (SELECT 1 FROM subject s WHERE s.id = c.id)"
    )
    op.add_column("client", sa.Column("default_scopes", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("client", schema=None) as batch_op:
        batch_op.drop_column("default_scopes")

    op.drop_table("subject")
