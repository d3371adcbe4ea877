"""`/users`: what administrators do with users, their roles, passwords and sessions."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Response, Security
from sqlmodel import Session, col, select

from identity.api import sessions
from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Moment, PathId, Text
from identity.api.merge_patch import IfMatch, check_unchanged, etag, merge_patch
from identity.api.paging import Page, Paged, Search, listed
from identity.api.problems import administrative
from identity.api.sessions import AtClient, SessionOut
from identity.api.users.schemas import (
    NewPassword,
    NewUser,
    OneTimePassword,
    Roles,
    RolesOrNames,
    UserPatch,
)
from identity.authentication.passwords import policy
from identity.clock import utcnow
from identity.directory.users import accounts, names, profile
from identity.directory.users.listing import matching
from identity.directory.users.shown import UserOut
from identity.directory.users.table import Status, User, UserRole
from identity.tokens.sessions import lifecycle

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]

router = APIRouter(prefix="/users", tags=["Users"], route_class=JsonRoute)


@router.get(
    "", operation_id="list_users", summary="List users, oldest first",
    responses=administrative(),
)  # fmt: skip
async def list_users(
    actor: Reader,
    window: Paged,
    q: Search = None,
    status: Status | None = None,
    role: Annotated[Text | None, Query(max_length=64, description="Only its holders.")] = None,
    last_login_before: Annotated[
        Moment | None, Query(description="Without those who have never logged in.")
    ] = None,
    never_logged_in: Annotated[bool | None, Query(description="Only those, or all others.")] = None,
) -> Page[UserOut]:
    """`q` is looked for in usernames, e-mail addresses and names."""
    query = matching(
        q=q, status=status, role=role,
        last_login_before=last_login_before, never_logged_in=never_logged_in,
    )  # fmt: skip

    def unit(session: Session) -> Page[UserOut]:
        users, following = window.take(session, query, User.id)
        roles: dict[str, list[str]] = {user.id: [] for user in users}
        granted = select(UserRole).where(col(UserRole.user_id).in_(roles))
        for grant in session.exec(granted.order_by(UserRole.role)):
            roles[grant.user_id].append(grant.role)
        return Page(items=[UserOut.of(u, roles[u.id]) for u in users], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "", status_code=201, operation_id="create_user", summary="Create a user",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_user(actor: Writer, body: NewUser, response: Response) -> UserOut:
    """Nobody can give roles that hold more than they hold themselves."""
    services = actor.services
    username = names.username(body.username)
    password_hash = None
    if body.password is not None:
        password = body.password.get_secret_value()
        policy.check(password, username=username, email=body.email)
        password_hash = await services.login.hash(username, password)

    def unit(session: Session) -> UserOut:
        user = accounts.create(
            session,
            username=username,
            email=body.email,
            name=body.name,
            known=body.model_dump(exclude_unset=True),
            password_hash=password_hash,
            roles=body.roles,
            held=actor.held,
        )
        return shown(session, user, response)

    created = await services.db.write(unit)
    response.headers["location"] = actor.address(f"/users/{created.id}")
    return created


@router.get(
    "/{user_id}", operation_id="get_user", summary="Show a user", responses=administrative(404)
)
async def get_user(actor: Reader, user_id: PathId, response: Response) -> UserOut:
    return await actor.services.db.read(
        lambda session: shown(session, accounts.get(session, user_id), response)
    )


@router.patch(
    "/{user_id}", operation_id="update_user", summary="Change, disable or enable a user",
    responses=administrative(404, 409, 412, body=True), openapi_extra=merge_patch(UserPatch),
)  # fmt: skip
async def update_user(
    actor: Writer, user_id: PathId, body: UserPatch, response: Response, if_match: IfMatch = None
) -> UserOut:
    """A JSON merge patch. Who is disabled loses all sessions at once."""

    def unit(session: Session) -> UserOut:
        user = accounts.get(session, user_id, lock=True)
        check_unchanged(if_match, user.version)
        fields = profile.patched(user, body.members())
        accounts.update(session, user, fields, actor.held)
        if "status" in fields:
            accounts.set_status(session, user, fields["status"], actor.held)
        if user.status == "disabled":
            lifecycle.end_all(session, "user disabled", user_id=user.id)
        return shown(session, user, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/{user_id}", status_code=204, operation_id="delete_user", summary="Delete a user",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_user(actor: Writer, user_id: PathId, if_match: IfMatch = None) -> None:
    """All sessions end at once."""

    def unit(session: Session) -> None:
        user = accounts.get(session, user_id, lock=True)
        check_unchanged(if_match, user.version)
        accounts.guard(session, user, actor.held)
        lifecycle.end_all(session, "user deleted", user_id=user.id)
        accounts.remove(session, user, actor.held)

    await actor.services.db.write(unit)


@router.post(
    "/{user_id}/password", operation_id="reset_password", summary="Set a one-time password",
    responses=administrative(404, 409, body=True),
)  # fmt: skip
async def reset_password(
    actor: Writer, user_id: PathId, body: NewPassword | None = None
) -> OneTimePassword:
    """The user must change it by `POST /password` before `/token` answers, and before it expires
    (`IDENTITY_ONE_TIME_PASSWORD_TTL`); all sessions end."""
    services = actor.services

    def look(session: Session) -> User:
        user = accounts.get(session, user_id)
        accounts.guard(session, user, actor.held)
        return user

    user = await services.db.read(look)
    if body is not None and body.password is not None:
        password = body.password.get_secret_value()
        policy.check(password, username=user.username, email=user.email)
    else:
        password = secrets.token_urlsafe(12)
    password_hash = await services.login.hash(user.username, password)
    expires = utcnow() + services.settings.passwords.one_time_password_ttl

    def unit(session: Session) -> None:
        user = accounts.get(session, user_id, lock=True)
        accounts.set_password_hash(
            session, user, password_hash, must_change=True, expires_at=expires, held=actor.held
        )
        lifecycle.end_all(session, "password reset", user_id=user.id)

    await services.db.write(unit)
    return OneTimePassword(password=password, expires_at=expires)


@router.put(
    "/{user_id}/roles", operation_id="set_user_roles", summary="Set the roles of a user",
    responses=administrative(404, 409, 412, body=True),
)  # fmt: skip
async def set_roles(
    actor: Writer,
    user_id: PathId,
    body: RolesOrNames,
    response: Response,
    if_match: IfMatch = None,
) -> UserOut:
    """Takes effect at once, also for tokens already issued. A bare list will do."""
    roles = body.roles if isinstance(body, Roles) else body

    def unit(session: Session) -> UserOut:
        user = accounts.get(session, user_id, lock=True)
        check_unchanged(if_match, user.version)
        accounts.set_roles(session, user, roles, actor.held)
        return shown(session, user, response)

    return await actor.services.db.write(unit)


@router.get(
    "/{user_id}/sessions", operation_id="list_user_sessions",
    summary="List the live sessions of a user, newest first", responses=administrative(404),
)  # fmt: skip
async def list_sessions(
    actor: Reader, user_id: PathId, window: Paged, client_id: AtClient = None
) -> Page[SessionOut]:
    def unit(session: Session) -> Page[SessionOut]:
        accounts.get(session, user_id)
        return sessions.page(session, window, user_id, client_id)

    return await listed(actor.services.db, unit)


@router.delete(
    "/{user_id}/sessions", status_code=204, operation_id="end_user_sessions",
    summary="Log a user out everywhere", responses=administrative(404),
)  # fmt: skip
async def end_sessions(actor: Writer, user_id: PathId) -> None:
    def unit(session: Session) -> None:
        accounts.guard(session, accounts.get(session, user_id), actor.held)
        lifecycle.end_all(session, "ended by an administrator", user_id=user_id)

    await actor.services.db.write(unit)


@router.delete(
    "/{user_id}/sessions/{session_id}", status_code=204, operation_id="end_user_session",
    summary="End one session of a user", responses=administrative(404),
)  # fmt: skip
async def end_session(actor: Writer, user_id: PathId, session_id: PathId) -> None:
    def unit(session: Session) -> None:
        accounts.guard(session, accounts.get(session, user_id), actor.held)
        lifecycle.end_of(session, user_id, session_id, "ended by an administrator")

    await actor.services.db.write(unit)


def shown(session: Session, user: User, response: Response) -> UserOut:
    """The user as the API shows it, its version in the answer's `ETag`."""
    response.headers["etag"] = etag(user.version)
    return UserOut.of(user, accounts.roles_of(session, user.id))
