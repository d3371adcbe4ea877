"""`/users/me`: what users do with their own account (`GET /users/me` itself: profile.py), and
`POST /password` for those who cannot get a token yet."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlmodel import Session

from identity.api import sessions
from identity.api.actor import ChangingMe, Me
from identity.api.bodies import JsonRoute, PathId
from identity.api.merge_patch import IfMatch, check_unchanged, etag, merge_patch
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative, problems
from identity.api.sessions import AtClient, SessionOut, Words
from identity.api.stepping_up import TOO_OLD, check_stepped_up
from identity.api.users.schemas import MyPasswordChange, MyPatch, PasswordChange
from identity.authentication import changing, leaving, levels
from identity.authentication.mail import addresses
from identity.clock import now
from identity.directory.users import accounts
from identity.directory.users.shown import UserOut
from identity.errors import Conflict
from identity.service import own_account
from identity.service.wiring import Services
from identity.tokens.sessions import lifecycle

_WRONG_CURRENT = "The current password is wrong."

router = APIRouter(tags=["Self-service"], route_class=JsonRoute)


class MySession(SessionOut):
    current: bool
    """Whether the token that asks is this session's."""


class Deletion(BaseModel):
    deletion_due_at: datetime | None
    """When the account goes; null: it is gone."""


class MyData(BaseModel):
    """All that is known of a user, for them to take along."""

    made_at: datetime
    account: UserOut
    second_factors: dict[str, Any]
    browser_sessions: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    applications: list[dict[str, Any]]
    history: list[dict[str, Any]]


@router.patch(
    "/users/me", operation_id="update_me", summary="Change my profile or e-mail address",
    responses=administrative(
        409, 412, 429, body=True,
        s403="The token lacks the scope, the current password is wrong, or nothing proves who asks "
        "for another e-mail address.",
        s409="The e-mail address is taken; said only to who has proven who they are.",
    ),
    openapi_extra=merge_patch(MyPatch),
)  # fmt: skip
async def update_me(
    me: ChangingMe, body: MyPatch, response: Response, if_match: IfMatch = None
) -> UserOut:
    """A JSON merge patch. Another e-mail address, which is a login name, takes the current
    password or a login of the last five minutes. Where mails can be sent it counts once it has been
    confirmed by the mail that goes there, whether or not somebody else has it: the answer is the
    same, and shows the address of before. Elsewhere it counts at once, and is not verified."""
    fields = body.members()
    password = fields.pop("current_password", None)
    proven = None
    if password is not None and "email" in fields:
        current = password.get_secret_value()
        await me.services.feed.catch_up()
        proven = await changing.prove(me.services.login, me.user.username, current, me.user.id)
    recent = int(now()) - me.live.claims.claims.get("auth_time", 0) <= levels.STEP_UP
    updated = await own_account.update_profile(
        me.services, me.user.id, fields, lambda user: check_unchanged(if_match, user.version),
        fresh=recent, proven=proven,
    )  # fmt: skip
    response.headers["etag"] = etag(updated.version)
    return updated.shown


@router.post(
    "/users/me/verify-email", status_code=202, operation_id="verify_my_email",
    summary="Get a mail by which I confirm my e-mail address", responses=administrative(409, 429),
)  # fmt: skip
async def verify_my_email(me: ChangingMe) -> None:
    """Nothing is sent where it is verified already."""
    mails = me.services.mails

    def unit(session: Session) -> None:
        user = accounts.get(session, me.user.id, lock=True)
        if not mails.on or user.email is None:
            raise Conflict("there is no address, or no mail can be sent")
        addresses.ask_verification(session, mails, user)

    await me.services.db.write(unit)


@router.post(
    "/users/me/password", status_code=204, operation_id="change_my_password",
    summary="Change my password",
    responses=administrative(429, body=True, s403=f"{_WRONG_CURRENT} Or the token is a client's."),
)  # fmt: skip
async def change_my_password(me: ChangingMe, body: MyPasswordChange) -> None:
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
async def list_my_sessions(
    me: Me, window: Paged, client_id: AtClient = None, q: Words = None
) -> Page[MySession]:
    found = await listed(
        me.services.db, lambda s: sessions.page(s, window, me.user.id, client_id, q)
    )
    current = me.live.claims.session
    items = [MySession(**item.model_dump(), current=item.id == current) for item in found.items]
    return Page(items=items, next=found.next)


@router.delete(
    "/users/me/sessions/{session_id}", status_code=204, operation_id="end_my_session",
    summary="End one of my sessions", responses=administrative(404),
)  # fmt: skip
async def end_my_session(me: ChangingMe, session_id: PathId) -> None:
    await me.services.db.write(
        lambda s: lifecycle.end_of(s, me.user.id, session_id, "ended by the user")
    )


@router.get(
    "/users/me/data", operation_id="get_my_data", summary="Download all that is known of me",
    responses=administrative(s403=TOO_OLD),
)  # fmt: skip
async def get_my_data(me: ChangingMe) -> MyData:
    """Never a secret. Of others who changed the account it says only that they did."""

    def unit(session: Session) -> MyData:
        check_stepped_up(me.live, second_factor=me.user.second_factor)
        return MyData(**own_account.data(session, me.user.id))

    found = await listed(me.services.db, unit)
    me.services.queue.put("user.data_downloaded", subject=me.user.id)
    return found


@router.delete(
    "/users/me", status_code=202, operation_id="delete_me", summary="Delete my account",
    responses=administrative(409, s403=TOO_OLD, s409="The last administrator cannot go."),
)  # fmt: skip
async def delete_me(me: ChangingMe) -> Deletion:
    """All sessions end at once. The account goes after `IDENTITY_ACCOUNT_DELETION_GRACE`; whoever
    logs in until then keeps it."""

    def unit(session: Session) -> Deletion:
        user = accounts.get(session, me.user.id, lock=True)
        check_stepped_up(me.live, second_factor=user.second_factor)
        grace = me.services.settings.accounts.account_deletion_grace
        return Deletion(deletion_due_at=leaving.ask(session, user, grace))

    return await me.services.db.write(unit)


async def _change(
    services: Services,
    login: str,
    body: MyPasswordChange,
    *,
    user_id: str | None = None,
    keep: str | None = None,
) -> None:
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    await services.feed.catch_up()
    await changing.change(
        services.login, login, current, new, lambda *_: None, user_id=user_id, keep=keep
    )
