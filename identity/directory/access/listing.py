"""Which roles and scopes a list shows: the filters of `GET /roles`, `GET /scopes`, and of
`identity roles list` and `identity scopes list`."""

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.directory.access.table import Role, RoleScope, Scope
from identity.store.searching import contains


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
