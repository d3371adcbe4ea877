"""People signed in with a browser, what they agreed to, and the codes that clients get for it.

A version before this neither writes nor reads any of it. It refreshes a token of a family as one of
the session, whose scope and audience are those of the client's first code: let no client use the
authorization code grant before every replica is new.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("browser_session_id IS NOT NULL AND ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "browser_session",
        *_texts("id", "digest", "user_id"),
        sa.Column("amr", sa.JSON(), nullable=False),
        *_texts("acr"),
        *_times("created_at", "authenticated_at", "last_used_at", "expires_at"),
        *_times("ended_at", nullable=True),
        *_texts("end_reason", "address", "user_agent", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_browser_session")),
        sa.UniqueConstraint("digest", name=op.f("uq_browser_session_digest")),
        _follows("browser_session", "user_id", "user_account.id"),
    )
    for column in ("user_id", "expires_at", "ended_at"):
        op.create_index(op.f(f"ix_browser_session_{column}"), "browser_session", [column])
    # No reference: SQLite would have to copy the table for it. Both rows go with their user.
    op.add_column("session", sa.Column("browser_session_id", sa.String()))
    op.create_index(
        "uq_session_browser_client", "session", ["browser_session_id", "client_id"],
        unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE,
    )  # fmt: skip
    op.create_table(
        "refresh_family",
        *_texts("id", "session_id", "scope", "audience"),
        sa.Column("claims", sa.JSON()),
        *_times("authenticated_at"),
        sa.Column("amr", sa.JSON(), nullable=False),
        *_texts("acr"),
        *_times("created_at"),
        sa.Column("status_index", _BIG),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_family")),
        _follows("refresh_family", "session_id", "session.id"),
    )
    op.create_index(op.f("ix_refresh_family_session_id"), "refresh_family", ["session_id"])
    op.add_column("refresh_token", sa.Column("family_id", sa.String()))  # both go with the session
    op.create_table(
        "consent",
        *_texts("user_id", "client_id"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        *_times("granted_at", "updated_at"),
        sa.PrimaryKeyConstraint("user_id", "client_id", name=op.f("pk_consent")),
        _follows("consent", "user_id", "user_account.id"),
        _follows("consent", "client_id", "client.id"),
    )
    op.create_index(op.f("ix_consent_client_id"), "consent", ["client_id"])
    op.create_table(
        "authorization_code",
        *_texts("digest", "client_id", "user_id", "browser_session_id"),
        *_texts("redirect_uri", "code_challenge", nullable=True),
        *_texts("scope"),
        sa.Column("resources", sa.JSON(), nullable=False),
        *_texts("nonce", nullable=True),
        sa.Column("claims", sa.JSON()),
        *_times("authenticated_at"),
        sa.Column("amr", sa.JSON(), nullable=False),
        *_texts("acr"),
        *_times("expires_at"),
        *_times("used_at", nullable=True),
        *_texts("session_id", nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_authorization_code")),
        _follows("authorization_code", "client_id", "client.id"),
        _follows("authorization_code", "user_id", "user_account.id"),
        _follows("authorization_code", "browser_session_id", "browser_session.id"),
    )
    for column in ("client_id", "user_id", "browser_session_id", "expires_at"):
        op.create_index(op.f(f"ix_authorization_code_{column}"), "authorization_code", [column])


def downgrade() -> None:
    # What a browser session began would outlive it: the version before knows nothing of it.
    op.execute("DELETE FROM session WHERE id IN (SELECT session_id FROM refresh_family)")
    op.drop_table("authorization_code")
    op.drop_table("consent")
    op.drop_column("refresh_token", "family_id")
    op.drop_table("refresh_family")
    op.drop_index("uq_session_browser_client", "session")
    op.drop_column("session", "browser_session_id")
    op.drop_table("browser_session")


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]


def _times(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=nullable) for name in names]


def _follows(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete="CASCADE")
