"""`/users/me`: what users do with their own account (`GET /users/me` itself: profile.py), and
`POST /password` for those who cannot get a token yet."""

from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from identity import audit
from identity.acting import Me
from identity.errors import Forbidden, InvalidGrant, InvalidRequest, NotFound, ValidationFailed
from identity.inputs import JsonRoute, PathId
from identity.paging import Page, Paged, listed
from identity.passwords import policy
from identity.passwords.preparing import prepare
from identity.patching import IfMatch, check_unchanged, etag, merge_patch
from identity.problems import administrative, problems
from identity.services import Services
from identity.sessions import lifecycle, listing
from identity.sessions.listing import SessionOut
from identity.users import accounts
from identity.users.login import WRONG, Proven
from identity.users.schemas import MyPasswordChange, MyPatch, PasswordChange
from identity.users.shown import UserOut

_WRONG_CURRENT = "The current password is wrong."

router = APIRouter(tags=["Self-service"], route_class=JsonRoute)


class MySession(SessionOut):
    current: bool
    """Whether the token that asks is this session's."""


@router.patch(
    "/users/me", operation_id="update_me", summary="Change my name or e-mail address",
    responses=administrative(409, 412, body=True), openapi_extra=merge_patch(MyPatch),
)  # fmt: skip
async def update_me(me: Me, body: MyPatch, response: Response, if_match: IfMatch = None) -> UserOut:
    """A JSON merge patch. A changed address has to be verified again."""

    def unit(session: Session) -> UserOut:
        user = accounts.get(session, me.user.id, lock=True)
        check_unchanged(if_match, user.version)
        accounts.update(session, user, body.members(), None)
        response.headers["etag"] = etag(user.version)
        return UserOut.of(user, accounts.roles_of(session, user.id))

    return await me.services.db.write(unit)


@router.post(
    "/users/me/password", status_code=204, operation_id="change_my_password",
    summary="Change my password",
    responses=administrative(429, body=True, s403=f"{_WRONG_CURRENT} Or the token is a client's."),
)  # fmt: skip
async def change_my_password(me: Me, body: MyPasswordChange) -> None:
    """All my other sessions end. Guessing is slowed like a login's."""
    await _change(
        me.services, me.user.username, body, user_id=me.user.id, keep=me.live.claims.session
    )


@router.post(
    "/password", status_code=204, operation_id="change_password",
    summary="Change a password without a token",
    responses=problems(403, 429, body=True, s403="The username or password is wrong."),
)  # fmt: skip
async def change_password(request: Request, body: PasswordChange) -> None:
    """For whoever must change a one-time password before `/token` will answer. All sessions end.
    Guessing is slowed like a login's."""
    await _change(request.app.state.services, body.username, body)


@router.get(
    "/users/me/sessions", operation_id="list_my_sessions",
    summary="List my live sessions, newest first", responses=administrative(),
)  # fmt: skip
async def list_my_sessions(me: Me, window: Paged) -> Page[MySession]:
    found = await listed(me.services.db, lambda s: listing.page(s, window, me.user.id))
    current = me.live.claims.session
    items = [MySession(**item.model_dump(), current=item.id == current) for item in found.items]
    return Page(items=items, next=found.next)


@router.delete(
    "/users/me/sessions/{session_id}", status_code=204, operation_id="end_my_session",
    summary="End one of my sessions", responses=administrative(404),
)  # fmt: skip
async def end_my_session(me: Me, session_id: PathId) -> None:
    def unit(session: Session) -> None:
        mine = listing.find(session, me.user.id, session_id)
        if mine is None or not lifecycle.end(session, session_id, "ended by the user"):
            raise NotFound("you have no such session")

    await me.services.db.write(unit)


async def _change(
    services: Services,
    login: str,
    body: MyPasswordChange,
    *,
    user_id: str | None = None,
    keep: str | None = None,
) -> None:
    """Prove the old password, set the new one, end all sessions but `keep`.

    `user_id`: whose password it has to be, where that is known.
    """
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    policy.check(new, username=login, pointer="/new_password")
    proven = await _prove(services, login, current)
    user = proven.user
    if user_id is not None and user.id != user_id:
        raise Forbidden(WRONG)  # renamed, and the name taken by another, a moment ago
    policy.check(new, username=user.username, email=user.email, pointer="/new_password")
    if prepare(new) == prepare(current):
        raise ValidationFailed([("/new_password", "The new password is the current one.")])
    password_hash = await services.pool.run(services.hasher.hash, new)
    audit.act_as("user", user.id)

    def unit(session: Session) -> None:
        services.login.settle(session, proven)
        row = accounts.get(session, user.id, lock=True)
        accounts.set_password_hash(session, row, password_hash, must_change=False, held=None)
        lifecycle.end_all(session, "password changed", user_id=user.id, keep=[keep])

    try:
        await services.db.write(unit)
    except InvalidGrant as refusal:
        raise Forbidden(WRONG, audit=refusal.audit) from None


async def _prove(services: Services, login: str, password: str) -> Proven:
    try:
        return await services.login.prove(login, password)
    except InvalidGrant as refusal:  # OAuth's word for it would puzzle here
        raise Forbidden(WRONG, audit=refusal.audit) from None
    except InvalidRequest as refusal:
        raise ValidationFailed([("/current_password", refusal.detail)]) from None
