"""What users do with their own account, whichever way they come: by the API or by pages."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from sqlmodel import Session, col, select

from identity.authentication import changing, levels, recovery, totp
from identity.authentication.mail import addresses
from identity.authentication.password import Proven
from identity.clock import utcnow
from identity.directory import consents
from identity.directory.users import accounts, profile
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User
from identity.errors import Conflict, LoginTooOld
from identity.records import audit
from identity.records.audit import AuditEvent, reading
from identity.service.wiring import Services
from identity.tokens.sessions import listing

T = TypeVar("T")
HISTORY = timedelta(days=90)
"""How far back people are shown what happened to their account."""


class Updated(NamedTuple):
    shown: UserOut
    version: int


async def update_profile(
    services: Services,
    user_id: str,
    fields: dict[str, Any],
    check: Callable[[User], None],
    *,
    fresh: bool,
    proven: Proven | None = None,
) -> Updated:
    """`fields`: `name`, `email` and members of `profile`, as a merge patch. `check` sees the user
    before anything is changed. Another e-mail address, which is a login name, takes a `fresh` proof
    of who asks, or the password (`proven`): else `LoginTooOld`. Where mails can be sent it counts
    once it has been confirmed, and what is answered is the same whether or not somebody has it.
    `Conflict`, `ValidationFailed`, `TooManyRequests`."""

    mails = services.mails

    def unit(session: Session) -> Updated:
        if proven is not None:
            services.login.settle(session, proven)
        user = accounts.get(session, user_id, lock=True)
        check(user)
        if proven is None and not fresh and accounts.other_email(user, fields):
            words = "a new e-mail address takes current_password, or a new login"
            raise LoginTooOld(words, max_age=levels.STEP_UP)
        patched = profile.patched(user, fields)
        changed = addresses.by_mail(session, mails, user, patched)
        accounts.update(session, user, changed, None)
        return Updated(UserOut.of(user, accounts.roles_of(session, user.id)), user.version)

    if "email" not in fields:
        return await services.db.write(unit)
    if mails.on:
        with changing.in_our_words():
            return await services.db.write(unit)
    return await _asking_what_is_taken(services, user_id, unit)


def choose_notices(session: Session, user: User, *, new_device: bool) -> None:
    """`new_device`: whether a mail tells of sign-ins with one. The user's row is locked."""
    if user.device_notices != new_device:
        user.device_notices = new_device
        accounts.touch(session, user)
        audit.record(session, "user.notices_chosen", subject=user.id, new_device=new_device)


async def _asking_what_is_taken(
    services: Services, user_id: str, unit: Callable[[Session], T]
) -> T:
    """Whether an address is taken is told as often as a login may fail, and no more. Counted
    apart from logins: who has an account to log in to could set their counter back."""
    asks = f"e-mail addresses taken\n{user_id}"
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


def history(session: Session, user_id: str, before: int | None, most: int) -> list[AuditEvent]:
    """What happened to this account, newest first; `before`: an event's id. Tokens that
    applications get all day are left out."""
    query = reading.matching(subject=user_id, since=utcnow() - HISTORY).where(
        col(AuditEvent.event).not_in(("token.issued", "token.refused"))
    )
    if before is not None:
        query = query.where(col(AuditEvent.id) < before)
    return [*session.exec(query.order_by(col(AuditEvent.id).desc()).limit(most))]


def data(session: Session, user_id: str) -> dict[str, Any]:
    """All that is known of a user and may be told them, as JSON has it. Never a secret, and of
    others who had to do with it only that they did."""
    user = accounts.get(session, user_id)
    clock, (left, made) = totp.find(session, user_id), recovery.left(session, user_id)
    browsers = session.exec(listing.browsers_of(user_id)).all()
    logins = session.exec(listing.logins_of(user_id)).all()
    events = session.exec(select(AuditEvent).where(AuditEvent.subject == user_id)
                          .order_by(col(AuditEvent.id)))  # fmt: skip
    return {
        "made_at": utcnow(),
        "account": UserOut.of(user, accounts.roles_of(session, user_id)).model_dump(),
        "second_factors": {
            "authenticator_app": clock and {
                "set_up_at": clock.confirmed_at, "last_used_at": clock.last_used_at,
            },
            "recovery_codes": {"left": left, "made_at": made},
        },
        "browser_sessions": [_members(row, BROWSER) for row in browsers],
        "sessions": [_members(row, LOGIN) for row in logins],
        "applications": [_members(row, CONSENT) for row in consents.of_user(session, user_id)],
        "history": [told(row, user_id) for row in events],
    }  # fmt: skip


BROWSER = (
    "id", "created_at", "authenticated_at", "last_used_at", "expires_at", "acr", "amr", "address",
    "user_agent",
)  # fmt: skip
LOGIN = (
    "id", "client_id", "scope", "audience", "created_at", "last_used_at", "expires_at", "amr",
    "address", "user_agent",
)  # fmt: skip
CONSENT = ("client_id", "scopes", "granted_at", "updated_at")


def _members(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def told(event: AuditEvent, user_id: str) -> Mapping[str, Any]:
    """Where somebody else acted, not from where."""
    own = event.actor in (user_id, None)
    return {
        "at": event.at,
        "event": event.event,
        "outcome": event.outcome,
        "by": "you" if event.actor == user_id else event.actor_type,
        "client_id": event.client_id,
        "address": event.address if own else None,
        "detail": event.detail if own else {},
    }
