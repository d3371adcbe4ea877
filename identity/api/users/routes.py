"""`/users`: what administrators do with users, their roles, passwords and sessions."""

from typing import Annotated

from fastapi import APIRouter, Response, Security
from sqlmodel import Session

from identity.api import sessions
from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId
from identity.api.merge_patch import IfMatch, etag, merge_patch
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative
from identity.api.sessions import AtClient, SessionOut, Words
from identity.api.users.schemas import (
    NewPassword,
    NewUser,
    OneTimePassword,
    Roles,
    RolesOrNames,
    UserPatch,
)
from identity.authentication.mail import resetting
from identity.directory.users import accounts, names
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User
from identity.service.administration import users as administration

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]

router = APIRouter(prefix="/users", tags=["Users"], route_class=JsonRoute)


@router.post(
    "", status_code=201, operation_id="create_user", summary="Create a user",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_user(actor: Writer, body: NewUser, response: Response) -> UserOut:
    """Nobody can give roles that hold more than they hold themselves."""
    services = actor.services
    if body.invite:
        administration.check_invitable(
            services.mails, body.email, has_password=body.password is not None
        )
    username = names.username(body.username)
    password = body.password.get_secret_value() if body.password is not None else None
    password_hash = await administration.hashed(services, username, body.email, password)

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
        if body.invite:
            resetting.invite(session, services.mails, user)
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
        user = administration.change(session, user_id, body.members(), actor.held, if_match)
        return shown(session, user, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/{user_id}", status_code=204, operation_id="delete_user", summary="Delete a user",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_user(actor: Writer, user_id: PathId, if_match: IfMatch = None) -> None:
    """All sessions end at once."""
    await actor.services.db.write(
        lambda session: administration.delete(session, user_id, actor.held, if_match)
    )


@router.post(
    "/{user_id}/password", operation_id="reset_password", summary="Set a one-time password",
    responses=administrative(404, 409, body=True),
)  # fmt: skip
async def reset_password(
    actor: Writer, user_id: PathId, body: NewPassword | None = None
) -> OneTimePassword:
    """The user must change it by `POST /password` before `/token` answers, and before it expires
    (`IDENTITY_ONE_TIME_PASSWORD_TTL`); all sessions end."""
    password = None
    if body is not None and body.password is not None:
        password = body.password.get_secret_value()
    set_ = await administration.reset_password(actor.services, user_id, password, actor.held)
    return OneTimePassword(password=set_.password, expires_at=set_.expires_at)


@router.post(
    "/{user_id}/invitation", status_code=204, operation_id="invite_user",
    summary="Invite a user who has no password, once more", responses=administrative(404, 409),
)  # fmt: skip
async def invite(actor: Writer, user_id: PathId) -> None:
    """A mail with a link that is good for seven days."""
    mails = actor.services.mails
    await actor.services.db.write(lambda s: administration.invite(s, mails, user_id, actor.held))


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
        user = administration.set_roles(session, user_id, roles, actor.held, if_match)
        return shown(session, user, response)

    return await actor.services.db.write(unit)


@router.get(
    "/{user_id}/sessions", operation_id="list_user_sessions",
    summary="List the live sessions of a user, newest first", responses=administrative(404),
)  # fmt: skip
async def list_sessions(
    actor: Reader, user_id: PathId, window: Paged, client_id: AtClient = None, q: Words = None
) -> Page[SessionOut]:
    def unit(session: Session) -> Page[SessionOut]:
        accounts.get(session, user_id)
        return sessions.page(session, window, user_id, client_id, q)

    return await listed(actor.services.db, unit)


@router.delete(
    "/{user_id}/sessions", status_code=204, operation_id="end_user_sessions",
    summary="Log a user out everywhere", responses=administrative(404),
)  # fmt: skip
async def end_sessions(actor: Writer, user_id: PathId) -> None:
    await actor.services.db.write(lambda s: administration.sign_out(s, user_id, actor.held))


@router.delete(
    "/{user_id}/sessions/{session_id}", status_code=204, operation_id="end_user_session",
    summary="End one session of a user", responses=administrative(404),
)  # fmt: skip
async def end_session(actor: Writer, user_id: PathId, session_id: PathId) -> None:
    await actor.services.db.write(
        lambda s: administration.end_session(s, user_id, session_id, actor.held)
    )


def shown(session: Session, user: User, response: Response) -> UserOut:
    """The user as the API shows it, its version in the answer's `ETag`."""
    response.headers["etag"] = etag(user.version)
    return UserOut.of(user, accounts.roles_of(session, user.id))
