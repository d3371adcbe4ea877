"""`/roles` and `/scopes`: a role is a named set of scopes, a scope belongs to a resource."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response, Security
from sqlmodel import Session, col, select

from identity.api.access.schemas import NewRole, NewScope, RoleOut, RolePatch, ScopeOut, ScopePatch
from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId, Text
from identity.api.merge_patch import IfMatch, etag, merge_patch
from identity.api.paging import Page, Paged, Search, listed
from identity.api.problems import administrative
from identity.directory.access import editing
from identity.directory.access.granting import scopes_of_roles
from identity.directory.access.listing import roles_matching, scopes_matching
from identity.directory.access.table import Role, RoleScope, Scope
from identity.service.administration import access as administration

Reader = Annotated[Acting, Security(acting, scopes=["roles:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["roles:write"])]

router = APIRouter(tags=["Roles and scopes"], route_class=JsonRoute)


# --- Roles ----------------------------------------------------------------------------------


@router.get("/roles", operation_id="list_roles", summary="List roles", responses=administrative())
async def list_roles(
    actor: Reader,
    window: Paged,
    q: Search = None,
    scope: Annotated[Text | None, Query(max_length=100, description="One that they hold.")] = None,
) -> Page[RoleOut]:
    """By name. `q` is looked for in names and descriptions."""
    query = roles_matching(q=q, scope=scope)

    def unit(session: Session) -> Page[RoleOut]:
        roles, following = window.take(session, query, Role.name)
        scopes: dict[str, list[str]] = {role.name: [] for role in roles}
        for held in session.exec(select(RoleScope).where(col(RoleScope.role).in_(scopes))):
            scopes[held.role].append(held.scope)
        return Page(items=[RoleOut.of(role, scopes[role.name]) for role in roles], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "/roles", status_code=201, operation_id="create_role", summary="Create a role",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_role(actor: Writer, body: NewRole, response: Response) -> RoleOut:
    """Nobody can put scopes into a role that they do not hold themselves."""

    def unit(session: Session) -> RoleOut:
        role = editing.create_role(
            session,
            name=body.name,
            description=body.description,
            scopes=body.scopes,
            acr=body.acr,
            held=actor.held,
        )
        return _role(session, role, response)

    created = await actor.services.db.write(unit)
    response.headers["location"] = actor.address(f"/roles/{quote(created.name, safe='')}")
    return created


@router.get(
    "/roles/{name}", operation_id="get_role", summary="Show a role", responses=administrative(404)
)
async def get_role(actor: Reader, name: PathId, response: Response) -> RoleOut:
    return await actor.services.db.read(
        lambda session: _role(session, editing.get_role(session, name), response)
    )


@router.patch(
    "/roles/{name}", operation_id="update_role", summary="Change a role",
    responses=administrative(404, 409, 412, body=True), openapi_extra=merge_patch(RolePatch),
)  # fmt: skip
async def update_role(
    actor: Writer, name: PathId, body: RolePatch, response: Response, if_match: IfMatch = None
) -> RoleOut:
    """A JSON merge patch; `scopes` is replaced as a whole. Takes effect at once, also for tokens
    already issued."""

    def unit(session: Session) -> RoleOut:
        role = administration.change_role(session, name, body.members(), actor.held, if_match)
        return _role(session, role, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/roles/{name}", status_code=204, operation_id="delete_role", summary="Delete a role",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_role(actor: Writer, name: PathId, if_match: IfMatch = None) -> None:
    """Its users lose it at once."""
    await actor.services.db.write(
        lambda session: administration.delete_role(session, name, actor.held, if_match)
    )


# --- Scopes ---------------------------------------------------------------------------------


@router.get(
    "/scopes", operation_id="list_scopes", summary="List scopes", responses=administrative()
)
async def list_scopes(
    actor: Reader,
    window: Paged,
    q: Search = None,
    audience: Annotated[
        Text | None, Query(max_length=200, description="The resource that they belong to.")
    ] = None,
) -> Page[ScopeOut]:
    """By name. `q` is looked for in names and descriptions."""
    query = scopes_matching(q=q, audience=audience)

    def unit(session: Session) -> Page[ScopeOut]:
        scopes, following = window.take(session, query, Scope.name)
        return Page(items=[ScopeOut.of(scope) for scope in scopes], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "/scopes", status_code=201, operation_id="create_scope", summary="Create a scope",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_scope(actor: Writer, body: NewScope, response: Response) -> ScopeOut:
    """The role `admin` holds it from now on."""

    def unit(session: Session) -> ScopeOut:
        scope = editing.create_scope(
            session,
            name=body.name,
            description=body.description,
            audience=body.audience,
            open_to_registered=body.open_to_registered,
        )
        return _scope(scope, response)

    created = await actor.services.db.write(unit)
    response.headers["location"] = actor.address(f"/scopes/{quote(created.name, safe='')}")
    return created


# A scope's name may hold slashes, hence `:path`.
@router.get(
    "/scopes/{name:path}", operation_id="get_scope", summary="Show a scope",
    responses=administrative(404),
)  # fmt: skip
async def get_scope(actor: Reader, name: PathId, response: Response) -> ScopeOut:
    return await actor.services.db.read(
        lambda session: _scope(editing.get_scope(session, name), response)
    )


@router.patch(
    "/scopes/{name:path}", operation_id="update_scope", summary="Change a scope",
    responses=administrative(404, 409, 412, body=True), openapi_extra=merge_patch(ScopePatch),
)  # fmt: skip
async def update_scope(
    actor: Writer, name: PathId, body: ScopePatch, response: Response, if_match: IfMatch = None
) -> ScopeOut:
    """A JSON merge patch. Clients that registered themselves lose a scope that is not open to them
    any more, at once."""
    fields = body.members()

    def unit(session: Session) -> ScopeOut:
        scope = administration.change_scope(session, name, fields, actor.held, if_match)
        return _scope(scope, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/scopes/{name:path}", status_code=204, operation_id="delete_scope", summary="Delete a scope",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_scope(actor: Writer, name: PathId, if_match: IfMatch = None) -> None:
    """Roles, clients and tokens already issued lose it at once."""
    await actor.services.db.write(
        lambda session: administration.delete_scope(session, name, actor.held, if_match)
    )


def _role(session: Session, role: Role, response: Response) -> RoleOut:
    response.headers["etag"] = etag(role.version)
    return RoleOut.of(role, scopes_of_roles(session, [role.name]))


def _scope(scope: Scope, response: Response) -> ScopeOut:
    response.headers["etag"] = etag(scope.version)
    return ScopeOut.of(scope)
