"""Let each change say which transaction wrote it, and which row it is.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # What is there is older than all that comes, so its transaction is 0.
        op.execute("ALTER TABLE change ADD COLUMN xid xid8 NOT NULL DEFAULT '0'")
        op.execute("ALTER TABLE change ALTER COLUMN xid SET DEFAULT pg_current_xact_id()")
        op.execute(
            "ALTER TABLE change ADD COLUMN nonce bigint NOT NULL"
            " DEFAULT floor(random() * 4611686018427387904)::bigint"
        )
        op.execute("CREATE INDEX ix_change_xid_id ON change (xid, id)")
        return
    # SQLite adds no column with such a default: the table is written anew, the numbers go on.
    with op.batch_alter_table(
        "change", recreate="always", table_kwargs={"sqlite_autoincrement": True}
    ) as batch_op:
        batch_op.add_column(
            sa.Column(
                "nonce",
                sa.Integer(),
                server_default=sa.text("(random() & 4611686018427387903)"),
                nullable=False,
            )
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE change DROP COLUMN nonce, DROP COLUMN xid")
        return
    with op.batch_alter_table(
        "change", recreate="always", table_kwargs={"sqlite_autoincrement": True}
    ) as batch_op:
        batch_op.drop_column("nonce")
