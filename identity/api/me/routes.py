"""`/users/me`: what users do with their own account (`GET /users/me` itself: profile.py), and
`POST /password` for those who cannot get a token yet."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from identity.api import sessions
from identity.api.actor import ActingUser, ChangingMe, Me
from identity.api.bodies import JsonRoute, PathId
from identity.api.merge_patch import IfMatch, check_unchanged, etag, merge_patch
from identity.api.paging import Page, Paged, listed
from identity.api.problems import administrative, problems
from identity.api.sessions import AtClient, SessionOut
from identity.api.users.schemas import MyPasswordChange, MyPatch, PasswordChange
from identity.authentication import changing
from identity.authentication.mail import addresses
from identity.clock import now
from identity.directory.users import accounts, profile
from identity.directory.users.shown import UserOut
from identity.errors import (
    Conflict,
    LoginTooOld,
    NotFound,
)
from identity.records import audit
from identity.service.wiring import Services
from identity.tokens.sessions import lifecycle

RECENT = 5 * 60
"""Seconds for which a login proves who asks."""
_WRONG_CURRENT = "The current password is wrong."

router = APIRouter(tags=["Self-service"], route_class=JsonRoute)


class MySession(SessionOut):
    current: bool
    """Whether the token that asks is this session's."""


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
    recent = int(now()) - me.live.claims.claims.get("auth_time", 0) <= RECENT

    def unit(session: Session) -> UserOut:
        if proven is not None:
            me.services.login.settle(session, proven)
        user = accounts.get(session, me.user.id, lock=True)
        check_unchanged(if_match, user.version)
        if proven is None and not recent and accounts.other_email(user, fields):
            words = "a new e-mail address takes current_password, or a new login"
            raise LoginTooOld(words, max_age=RECENT)
        patched = profile.patched(user, fields)
        changed = addresses.by_mail(session, me.services.mails, user, patched)
        accounts.update(session, user, changed, None)
        response.headers["etag"] = etag(user.version)
        return UserOut.of(user, accounts.roles_of(session, user.id))

    if "email" not in fields:
        return await me.services.db.write(unit)
    if me.services.mails.on:
        with changing.in_our_words():
            return await me.services.db.write(unit)
    return await _asking_what_is_taken(me, unit)


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
async def list_my_sessions(me: Me, window: Paged, client_id: AtClient = None) -> Page[MySession]:
    found = await listed(me.services.db, lambda s: sessions.page(s, window, me.user.id, client_id))
    current = me.live.claims.session
    items = [MySession(**item.model_dump(), current=item.id == current) for item in found.items]
    return Page(items=items, next=found.next)


@router.delete(
    "/users/me/sessions/{session_id}", status_code=204, operation_id="end_my_session",
    summary="End one of my sessions", responses=administrative(404),
)  # fmt: skip
async def end_my_session(me: ChangingMe, session_id: PathId) -> None:
    def unit(session: Session) -> None:
        mine = sessions.find(session, me.user.id, session_id)
        if mine is None or not lifecycle.end(session, session_id, "ended by the user"):
            raise NotFound("you have no such session")

    await me.services.db.write(unit)


async def _asking_what_is_taken(me: ActingUser, unit: Callable[[Session], UserOut]) -> UserOut:
    """Whether an address is taken is told as often as a login may fail, and no more. Counted
    apart from logins: who has an account to log in to could set their counter back."""
    services, asks = me.services, f"e-mail addresses taken\n{me.user.id}"
    with services.throttle.attempt(asks, audit.origin.get().address) as attempt:
        await attempt.check(services.db)
        with attempt.turn():
            try:
                with changing.in_our_words():
                    return await services.db.write(unit)
            except Conflict:
                attempt.wrong = True
        await services.db.write_plain(attempt.failed)
        raise Conflict("the e-mail address is taken")


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
