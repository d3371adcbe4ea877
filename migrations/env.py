"""Runs migrations on the connection that `store.migrating` hands over, inside its transaction.

Called by the `alembic` command itself, it opens the database of the settings in force.
"""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection
from sqlmodel import AutoString

from identity.service.tables import metadata
from identity.settings import Settings
from identity.store import Database, UtcDateTime, contracting, migrating


def render(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Migrations outlive the code: they name SQLAlchemy's types, not ours."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return "sa.String()" if isinstance(item, AutoString) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=contracting.version_table(connection),
        render_item=render,
        include_name=migrating.compared,
        render_as_batch=True,
        transactional_ddl=True,
        compare_type=True,
    )
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with Database(Settings.load()).transaction() as session:
        run(session.connection())
