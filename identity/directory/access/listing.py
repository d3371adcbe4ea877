"""Which roles and scopes a list shows: the filters of `GET /roles`, `GET /scopes`, and of
`identity roles list` and `identity scopes list`."""

from sqlalchemy import Integer, literal
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.directory.access.table import Role, RoleScope, Scope
from identity.store import Database, Statement, select_of
from identity.store.searching import contains

CHOICES = 500
"""Names to choose from, at the most."""
_NAMES = Statement(
    lambda: select_of(Role.name).order_by(col(Role.name)).limit(literal(CHOICES, Integer))
)


async def role_names(db: Database) -> list[str]:
    """The first `CHOICES`, for people to choose from."""
    return [name for (name,) in await db.query(_NAMES, {})]


def roles_matching(*, q: str | None = None, scope: str | None = None) -> SelectOfScalar[Role]:
    """`q`: part of a name or description, in any case. `scope`: one that the role holds."""
    query = select(Role)
    if q:
        query = query.where(contains(q, Role.name, Role.description))
    if scope is not None:
        holding = select(RoleScope.role).where(RoleScope.scope == scope)
        query = query.where(col(Role.name).in_(holding))
    return query


def scopes_matching(*, q: str | None = None, audience: str | None = None) -> SelectOfScalar[Scope]:
    """`q`: part of a name or description, in any case. `audience`: the resource it belongs to."""
    query = select(Scope)
    if q:
        query = query.where(contains(q, Scope.name, Scope.description))
    if audience is not None:
        query = query.where(Scope.audience == audience)
    return query
